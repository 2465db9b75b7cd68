"""What a model file says without being run."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgegolf.bench.graph_statistics import GraphStatistics, graph_statistics
from edgegolf.errors import EdgegolfError
from edgegolf.files import MAXIMUM_BYTES, read_bounded
from edgegolf.formats.model_format import model_format
from edgegolf.formats.onnx.model import read_onnx
from edgegolf.formats.onnx.protobuf import walk
from edgegolf.runtimes.child import patience
from edgegolf.runtimes.registry import check_file
from edgegolf.runtimes.worker import run_in_fork

SHOWN_CHARACTERS = 80  # of a name that a file gives


@dataclass(frozen=True)
class FileFacts:
    """Size of a model file and what its graph takes; its SHA-256, with its files of weights."""

    size_bytes: int
    compressed_bytes: int
    sha256: str
    graph: GraphStatistics


def inspect_file(path: Path) -> FileFacts:
    """Read a model file, in a process of its own: inferring shapes may crash, or never end.

    Raises:
        EdgegolfError: It cannot be read or is no valid model, a file that it keeps its weights in
            is missing, or reading it takes too long.
    """
    check_file(path)
    return run_in_fork(_inspect_file, path, busy=patience(path))


def _inspect_file(path: Path) -> FileFacts:
    digest = hashlib.sha256()
    contents = [read_bounded(path), *map(read_bounded, weight_files(path))]
    for content in contents:
        digest.update(content)
    return FileFacts(
        size_bytes=sum(map(len, contents)),
        compressed_bytes=sum(len(zlib.compress(content, 9)) for content in contents),
        sha256=digest.hexdigest(),
        graph=graph_statistics(path),
    )


def weight_files(path: Path) -> tuple[Path, ...]:
    """The files beside an `.onnx` file that hold its weights; mostly none.

    Raises:
        EdgegolfError: The file is damaged, names a file outside its folder or what is no file's
            name, or one is missing or too short.
    """
    if model_format(path) != "onnx":
        return ()
    folder = path.parent.resolve()
    files = {}
    for tensor in walk(read_onnx(path).root):
        if tensor.kind == "TensorProto" and tensor.external_data:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            location = entries.get("location", "")
            if location not in files:
                files[location] = _weight_file(path, folder, location)
            _check_extent(path, entries, files[location].stat().st_size)
    found = tuple(files[location] for location in sorted(files))
    if sum(file.stat().st_size for file in set(found)) > MAXIMUM_BYTES:
        raise EdgegolfError(f"{path} keeps more than {MAXIMUM_BYTES:,} bytes of weights in files")
    return tuple(dict.fromkeys(found))


def _weight_file(path: Path, folder: Path, location: str) -> Path:
    shown = repr(location if len(location) <= SHOWN_CHARACTERS else location[:SHOWN_CHARACTERS])
    try:
        file = (folder / location).resolve()
        inside, there = file.is_relative_to(folder), file.is_file()
    except (ValueError, OSError, RuntimeError):  # NUL, too long, a circle of links
        raise EdgegolfError(f"{path} keeps weights in {shown}, which is no file's name") from None
    if not inside:
        raise EdgegolfError(f"{path} keeps weights in {shown}, outside its own folder")
    if not there:
        raise EdgegolfError(
            f"{path} keeps weights in {shown}, which is missing",
            hint=f"put {shown[1:-1]} into {path.parent}",
        )
    return file


def _check_extent(path: Path, entries: Mapping[str, str], size: int) -> None:
    """Raise EdgegolfError unless a tensor's bytes lie inside its file."""
    try:
        offset, length = (int(entries.get(key) or 0) for key in ("offset", "length"))
    except ValueError:
        offset = -1
    if offset < 0 or length < 0 or offset + length > size:
        raise EdgegolfError(f"{path} keeps a tensor's bytes outside the file that it names")
