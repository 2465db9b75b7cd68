"""The same model in fewer bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from edgegolf.errors import EdgegolfError
from edgegolf.files import read_bounded, write_atomically
from edgegolf.formats.model_format import model_format
from edgegolf.golf.golfing import Golfed, Keep, Stage
from edgegolf.golf.onnx_checks import new_fault
from edgegolf.golf.onnx_golf import golf_onnx
from edgegolf.golf.tflite_golf import golf_tflite
from edgegolf.runtimes.compare import Comparison

# Each pass removes what the one before made removable; in practice the second finds nothing.
MAXIMUM_PASSES = 8


#: Runs the original and the rewritten file on the same inputs.
Compare = Callable[[Path, Path], Comparison]


@dataclass(frozen=True)
class Saving:
    """Bytes that went for one reason."""

    cause: str
    bytes: int


@dataclass(frozen=True)
class GolfResult:
    """What became of a file."""

    SCHEMA: ClassVar[str] = "edgegolf.golf/1"

    source: str  # path of the original file
    destination: str  # path of the rewritten file
    bytes_before: int  # size of the original file
    bytes_after: int  # size of the rewritten file; never more
    # Bytes saved by each cause, in the order in which the causes were removed; they add up to the
    # difference of the sizes.
    savings: tuple[Saving, ...]
    verified: tuple[str, ...]  # the runtimes in which both files gave bit-identical outputs
    refused: tuple[str, ...]  # differences for which smaller rewrites were not used
    # Why no runtime compared the rewritten file, which was written all the same.
    unverified: tuple[str, ...] = ()


def golf_file(
    source: Path,
    destination: Path,
    keep_names: bool = False,
    keep_metadata: bool = False,
    keep_signatures: bool = False,
    portable: bool = False,
    compare: Compare | None = None,
    unverified: bool = False,
) -> GolfResult:
    """Rewrite a ``.tflite`` or ``.onnx`` file into fewer bytes that compute the same.

    The destination is written only when the rewritten file has been compared. It is never larger
    than the source (but see ``portable``), and golfing it again gives the same bytes.

    Args:
        source: The file to read.
        destination: The file to write; may be the source.
        keep_names: Keep the names of tensors, nodes and graphs. Names of an ONNX file's inputs
            and outputs stay in any case.
        keep_metadata: Keep descriptions, authors and tool versions.
        keep_signatures: Keep a TFLite file's signature even if it has only one.
        portable: Keep an ONNX file readable for others than onnxruntime: without functions, which
            may take more bytes than the source where it has some.
        compare: Runs both files on the same inputs, as
            `edgegolf.runtimes.compare.compare_files` does; nothing is run without it.
        unverified: Write a smaller file even if ``compare`` finds no runtime that runs both.

    Raises:
        EdgegolfError: The source is damaged or cannot be rewritten, no runtime could compare the
            smaller file, or the destination cannot be written.
    """
    keep = Keep(keep_names, keep_metadata, keep_signatures, portable)
    original = read_bounded(source)
    refused: list[str] = []
    for golfed in _candidates(original, source, keep):
        if len(golfed.data) >= len(original) and not golfed.may_grow:
            continue
        if model_format(source) == "onnx" and (fault := new_fault(original, golfed.data)):
            refused.append(fault)
            continue
        comparison = _compare(source, golfed.data, compare)
        if comparison.difference:
            refused.append(comparison.difference)
            continue
        failures = comparison.failures
        if compare and not comparison.runtimes and not unverified:
            raise EdgegolfError(
                f"{source} stays as it is: no runtime compared it with the smaller file; "
                + "; ".join(failures),
                hint="--unverified writes it all the same",
            )
        write_atomically(destination, golfed.data)
        savings = _savings(len(original), golfed.stages)
        return GolfResult(
            str(source),
            str(destination),
            len(original),
            len(golfed.data),
            savings,
            comparison.runtimes,
            tuple(refused),
            () if comparison.runtimes else failures,
        )
    if source.resolve() != destination.resolve():
        write_atomically(destination, original)
    return GolfResult(
        str(source), str(destination), len(original), len(original), (), (), tuple(refused)
    )


def _candidates(original: bytes, source: Path, keep: Keep) -> Iterator[Golfed]:
    """Rewritten files, the smallest first."""
    if model_format(source) == "tflite":
        yield _fixed_point(original, partial(golf_tflite, keep=keep, name=str(source)))
        return
    ways = ((True, False), (False, False), (False, True))
    for functions, types in ways[1:] if keep.portable else ways:
        rewrite = partial(golf_onnx, keep=keep, name=str(source), functions=functions, types=types)
        yield _fixed_point(original, rewrite)


def _fixed_point(original: bytes, golf: Callable[[bytes], Golfed]) -> Golfed:
    """Rewrite until nothing more is saved."""
    golfed = golf(original)
    for _ in range(MAXIMUM_PASSES):
        again = golf(golfed.data)
        if len(again.data) >= len(golfed.data):
            return golfed
        stages = (*golfed.stages, Stage("further passes", len(again.data)))
        golfed = Golfed(again.data, stages, golfed.may_grow)
    raise EdgegolfError("rewriting the file does not come to an end")


def _compare(source: Path, rewritten: bytes, compare: Compare | None) -> Comparison:
    if compare is None:
        return Comparison(())
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / f"golfed{source.suffix}"
        candidate.write_bytes(rewritten)
        return compare(source, candidate)


def _savings(before: int, stages: tuple[Stage, ...]) -> tuple[Saving, ...]:
    savings: dict[str, int] = {}
    for stage in stages:
        savings[stage.cause] = savings.get(stage.cause, 0) + before - stage.bytes
        before = stage.bytes
    return tuple(Saving(cause, saved) for cause, saved in savings.items() if saved)
