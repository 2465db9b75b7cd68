"""Whether two model files give bit-identical outputs, in every installed runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.runtimes.child import UnfinishedError, patience
from edgegolf.runtimes.registry import installed_runtimes, open_session
from edgegolf.runtimes.session import OPEN_SIZES, Array, TensorInfo
from edgegolf.runtimes.worker import run_in_fork

TIMEOUT_SECONDS = 600.0
RANDOM_RUNS = 8
MAXIMUM_ELEMENTS = 1 << 28
LARGE_SIZE = 100
MAXIMUM_PRODUCT = 1 << 20  # of all the sizes that one input holds
MAXIMUM_REASON = 300
_FAILED = "failed: "
# What numpy calls the types of a runtime; bits of those that it lacks go in as integers.
_NUMPY_TYPES = {
    "float": "float32",
    "double": "float64",
    "string": "object",
    "bfloat16": "uint16",
    "uint4": "uint8",
    "int4": "uint8",
    "uint2": "uint8",
    "int2": "uint8",
    "float4e2m1": "uint8",
    "float8e8m0": "uint8",
    "float8e4m3fn": "uint8",
    "float8e4m3fnuz": "uint8",
    "float8e5m2": "uint8",
    "float8e5m2fnuz": "uint8",
}


@dataclass(frozen=True)
class Comparison:
    """Whether two files give bit-identical outputs."""

    runtimes: tuple[str, ...]  # the runtimes that ran both files
    difference: str = ""  # how the files differ, empty if they do not
    failures: tuple[str, ...] = ()  # why other runtimes did not run the original


def compare_files(original: Path, rewritten: Path) -> Comparison:
    """Run both files on random and on extreme inputs, in a process that may crash.

    A runtime that cannot load or run the original is left out. Inputs that make the original fail
    must make the rewritten file fail. None is asked any more where one does not come to an end.

    Args:
        original: A ``.tflite`` or ``.onnx`` file.
        rewritten: A file of the same kind whose inputs and outputs have the same order.
    """
    agreeing, failures = [], []
    busy = 2 * patience(original)
    runtimes = installed_runtimes(original)
    for runtime in runtimes:
        try:
            same = run_in_fork(
                _agree, original, rewritten, runtime, timeout=TIMEOUT_SECONDS, busy=busy
            )
        except UnfinishedError as error:
            failures.append(f"{runtime}: {_without(original, error)}")
            break
        except EdgegolfError as error:
            reason = _why_not(original, runtime)
            if not reason:
                return Comparison((), f"the rewritten file fails in {runtime}: {error.message}")
            failures.append(f"{runtime}: {reason}")
            continue
        if not same:
            return Comparison((), f"the outputs in {runtime} differ")
        agreeing.append(runtime)
    if not runtimes:
        failures.append(f"no runtime for {original.suffix} files is installed")
    return Comparison(tuple(agreeing), failures=tuple(failures))


def _agree(original: Path, rewritten: Path, runtime: str) -> bool:
    return run_digests(original, runtime) == run_digests(rewritten, runtime)


def _why_not(path: Path, runtime: str) -> str:
    """Why a runtime does not run a file, empty if it does."""
    try:
        run_in_fork(run_digests, path, runtime, timeout=TIMEOUT_SECONDS, busy=2 * patience(path))
    except EdgegolfError as error:
        return _without(path, error)
    return ""


def _without(path: Path, error: EdgegolfError) -> str:
    return shorten(error.message.removeprefix(str(path)).lstrip(" :"), MAXIMUM_REASON)


def run_digests(path: Path, runtime: str) -> tuple[tuple[str, ...], ...]:
    """For each set of inputs, a digest of each output's type, shape and bytes.

    Raises:
        EdgegolfError: The runtime cannot load the file, or fails on all inputs.
    """
    with open_session(path, runtime) as session:
        if not session.outputs:
            raise EdgegolfError(f"{path} has no outputs to compare")
        found = [_digests(session.run, values) for values in _input_sets(session.inputs)]
        signatures = session.signatures()
        if len(signatures) > 1:  # a single one is the main graph
            for name, infos in sorted(signatures.items()):
                run = partial(session.run_signature, name)
                found += [_digests(run, values) for values in _input_sets(infos)]
    failures = [error for item in found for error in item if error.startswith(_FAILED)]
    if len(failures) == len(found):
        raise EdgegolfError(failures[0].removeprefix(_FAILED))
    # Messages name the file, which differs.
    return tuple((_FAILED,) if set(item) & set(failures) else item for item in found)


def _digests(run: Callable[[list[Any]], list[Array]], values: list[Any]) -> tuple[str, ...]:
    try:
        outputs = run(values)
    except EdgegolfError as error:
        return (_FAILED + error.message,)
    return tuple(hashlib.sha256(_described(output)).hexdigest() for output in outputs)


def _described(output: Any) -> bytes:
    """Equal for outputs with equal types, shapes and bits; sequences, maps and None included."""
    if isinstance(output, np.ndarray):
        is_object = output.dtype == object
        content = repr(output.tolist()).encode() if is_object else output.tobytes()
        return f"{output.dtype} {output.shape} ".encode() + content
    if isinstance(output, list):
        return b"[" + b",".join(hashlib.sha256(_described(item)).digest() for item in output)
    return repr(output).encode()


def _input_sets(infos: tuple[TensorInfo, ...]) -> Iterator[list[Any]]:
    generator = np.random.default_rng(0)
    for sizes in OPEN_SIZES if any(map(_is_open, infos)) else OPEN_SIZES[:1]:
        for kind in ("zero", "one", "lowest", "highest"):
            yield [_value(info, sizes, partial(_extreme, kind=kind)) for info in infos]
        for _ in range(RANDOM_RUNS):
            yield [_value(info, sizes, partial(_random, generator=generator)) for info in infos]


def _is_open(info: TensorInfo) -> bool:
    return None in info.shape or "(" in info.dtype


def _value(info: TensorInfo, open_size: int, make: Callable[..., Array]) -> Any:
    """An input: an array, or a list of arrays for a sequence of ``open_size`` tensors."""
    kind = info.dtype.removeprefix("optional(")
    element = kind.replace("seq(", "").replace("tensor(", "").rstrip(")")
    # Of the tensors in a sequence a session does not tell the shape.
    shape = info.shape or ((None, None) if "seq(" in kind else ())
    sizes = tuple(open_size if size is None else size for size in shape)
    if np.prod(sizes, dtype=float) > MAXIMUM_ELEMENTS:
        raise EdgegolfError(f"the input {info} is larger than {MAXIMUM_ELEMENTS:,} elements")
    dtype = np.dtype(_NUMPY_TYPES.get(element, element))
    if "seq(" in kind:
        return [make(dtype, sizes, info) for _ in range(open_size)]
    return make(dtype, sizes, info)


def _extreme(dtype: np.dtype[Any], shape: tuple[int, ...], info: TensorInfo, kind: str) -> Array:
    if dtype.kind == "O":
        return np.full(shape, "" if kind == "zero" else kind, dtype=object)
    if kind in ("zero", "one") or dtype.kind == "b":
        return np.full(shape, kind in ("one", "highest"), dtype)
    if dtype.kind in "fc":
        return np.full(shape, -1e4 if kind == "lowest" else 1e4, dtype)
    lowest, highest = np.iinfo(dtype).min, np.iinfo(dtype).max
    if len(shape) < 2 and _may_be_index(dtype, info):  # a size, which is to fit into memory
        large = min(LARGE_SIZE, int(MAXIMUM_PRODUCT ** (1 / max(1, prod(shape)))))
        lowest, highest = max(lowest, -large), large
    return np.full(shape, lowest if kind == "lowest" else highest, dtype)


def _random(
    dtype: np.dtype[Any], shape: tuple[int, ...], info: TensorInfo, generator: np.random.Generator
) -> Array:
    if dtype.kind == "O":
        words = np.empty(shape, dtype=object)
        words[...] = np.reshape(
            [generator.bytes(2).hex() for _ in range(int(np.prod(shape)))], shape
        )
        return words
    if dtype.kind == "f":
        return (generator.standard_normal(shape) * generator.choice([0.1, 1, 10])).astype(dtype)
    if dtype.kind == "c":
        return (generator.standard_normal(shape) + 1j * generator.standard_normal(shape)).astype(
            dtype
        )
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(dtype)
    limits = np.iinfo(dtype)
    low, high = (0, 3) if _may_be_index(dtype, info) else (limits.min, limits.max)
    return generator.integers(low, high, shape, dtype, endpoint=True)


def _may_be_index(dtype: np.dtype[Any], info: TensorInfo) -> bool:
    """Whether a type is one of indices and sizes, of which few are valid."""
    return dtype.itemsize > 2 and not info.scale
