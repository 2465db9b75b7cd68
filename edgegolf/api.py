"""The library: five functions, which import what they need when they are called."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgegolf.anatomy.anatomy import Anatomy
    from edgegolf.bench.result import BenchResult
    from edgegolf.compare.compare import Comparison
    from edgegolf.export.publish import Published
    from edgegolf.golf.golf import GolfResult

__all__ = ["anatomy", "bench", "compare", "export", "golf"]

# Packages have these names, too. They are imported before `edgegolf` takes the functions, so that
# importing a module of theirs later does not put them in the functions' places.
for package in __all__:
    import_module(f"edgegolf.{package}")


def bench(
    *files: str | Path, dataset: str | None = None, **options: Any
) -> tuple[BenchResult, ...]:
    """Measure size, memory, latency and accuracy of model files.

    Args:
        files: `.tflite` and `.onnx` files, or names of nets.
        dataset: The data set's folder in which the files of nets are; None looks in all.
        options: Fields of `edgegolf.bench.bench.BenchOptions`, such as `threads=(1, 2)`.

    Returns:
        One for each file, runtime, provider and number of threads; with `error` where it failed.

    Raises:
        EdgegolfError: No such net, or the options make no sense.
    """
    from edgegolf.bench.bench import BenchOptions
    from edgegolf.bench.bench import bench as measure
    from edgegolf.workspace import find_files

    paths = [path for file in files for path in find_files(str(file), dataset)]
    return tuple(measure(paths, BenchOptions(**options)))


def golf(file: str | Path, output: str | Path | None = None, **how: bool) -> GolfResult:
    """Rewrite a model file into fewer bytes, outputs bit-identical.

    Args:
        file: A `.tflite` or `.onnx` file.
        output: The file to write; None: beside it, `NAME.golfed.SUFFIX`.
        how: What `edgegolf.golf.golf.golf_file` takes, such as `keep_names=True`.

    Raises:
        EdgegolfError: The file is damaged, or no runtime could compare the smaller one.
    """
    from edgegolf.golf.golf import golf_file
    from edgegolf.runtimes.compare import compare_files

    path = Path(file)
    destination = Path(output or path.with_suffix(f".golfed{path.suffix}"))
    return golf_file(path, destination, compare=compare_files, **how)


def anatomy(file: str | Path) -> Anatomy:
    """Tell where every byte of a `.tflite` or `.onnx` file goes.

    Raises:
        EdgegolfError: The file cannot be read or is damaged, or is neither.
    """
    from edgegolf.anatomy.anatomy import anatomy as dissect

    return dissect(Path(file))


def compare(first: str | Path, second: str | Path, data: str | Path | None = None) -> Comparison:
    """Tell in which layers the second model gets worse than the first.

    Args:
        first: What is right: `.tflite`, `.onnx` or `.keras`.
        second: What is judged, of any of these formats.
        data: An `.npz` file or the name of a data set; None for random inputs.

    Raises:
        EdgegolfError: A file cannot be read or run, or the two take or give different shapes.
    """
    from edgegolf.compare.compare import compare as compare_models

    return compare_models(Path(first), Path(second), None if data is None else str(data))


def export(
    model: str | Path,
    out: str | Path | None = None,
    samples: str | Path | None = None,
    dataset: str | None = None,
    **options: Any,
) -> Published:
    """Export a model as float and int8 TFLite and ONNX files, each verified.

    Args:
        model: A `.keras`, `.h5`, `.onnx` or `.tflite` file, or a SavedModel's folder.
        out: The folder of its files; None: beside it, with its name before theirs.
        samples: An `.npz` or `.npy` file, a folder of images, or `my.py:samples`.
        dataset: The data set that it was trained on, instead; None takes the usual one.
        options: Fields of `edgegolf.export.ExportOptions`, such as `dtypes=("int8",)`.

    Returns:
        What was made, in which folder; files that could not be made are in its `failures`.

    Raises:
        EdgegolfError: The model cannot be read, or the options make no sense.
    """
    from edgegolf.export import ExportOptions
    from edgegolf.export.publish import publish_files

    taken = None if samples is None else str(samples)
    destination = None if out is None else Path(out)
    ((_, published),) = publish_files(
        [Path(model)], destination, dataset, taken, ExportOptions(**options)
    )
    return published
