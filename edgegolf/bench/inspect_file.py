"""What a model file says without being run."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

from edgegolf.errors import EdgegolfError
from edgegolf.files import read_bounded
from edgegolf.golf.graph import GraphStatistics, graph_statistics
from edgegolf.golf.model_format import model_format
from edgegolf.golf.onnx_model import read_onnx


@dataclass(frozen=True)
class FileFacts:
    """Size of a model file and what its graph takes."""

    size_bytes: int
    compressed_bytes: int
    graph: GraphStatistics


def inspect_file(path: Path) -> FileFacts:
    """Read a model file.

    Raises:
        EdgegolfError: It cannot be read or is no valid model, or a file that it keeps its
            weights in is missing.
    """
    contents = [read_bounded(path), *map(read_bounded, weight_files(path))]
    return FileFacts(
        size_bytes=sum(map(len, contents)),
        compressed_bytes=sum(len(zlib.compress(content, 9)) for content in contents),
        graph=graph_statistics(path),
    )


def weight_files(path: Path) -> tuple[Path, ...]:
    """The files beside an `.onnx` file that hold its weights; mostly none.

    Raises:
        EdgegolfError: The file is damaged, names a file outside its folder, or one is missing.
    """
    if model_format(path) != "onnx":
        return ()
    locations = {
        entry.value
        for tensor in read_onnx(path).root.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    folder = path.parent.resolve()
    files = []
    for location in sorted(locations):
        file = (folder / location).resolve()
        if not file.is_relative_to(folder):
            raise EdgegolfError(f"{path} keeps weights in {location!r}, outside its own folder")
        if not file.is_file():
            raise EdgegolfError(
                f"{path} keeps weights in {location!r}, which is missing",
                hint=f"put {location} into {path.parent}",
            )
        files.append(file)
    return tuple(files)
