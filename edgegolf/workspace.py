"""Where models and results are: `models/DATASET/NAME/` in the current folder, and a store.

Trainings with other epochs or data than those of the model that is kept are in
`trials/DATASET/NAME/HOW/`. Small int8 files come with the package, for nets that have no files in
the current folder.
"""

from __future__ import annotations

from glob import escape
from pathlib import Path

from edgegolf.errors import EdgegolfError, likeliest, suggestion
from edgegolf.files import no_such_file, read_bounded
from edgegolf.records import MAXIMUM_BYTES, parse_json

MODELS = Path("models")
# The small ones, as they come with the package; in a checkout they are beside it.
_CODE = Path(__file__).parent
BUNDLED = (_CODE.parent if (_CODE.parent / "setup.py").exists() else _CODE) / "models"
TRIALS = Path("trials")  # what was trained otherwise than the model that is kept
MODEL_NAME = "model.keras"
MODEL_SUFFIXES = (".tflite", ".onnx")


def model_folder(dataset: str, net: str) -> Path:
    """The folder of a net (a colon is not allowed in file names everywhere)."""
    return MODELS / dataset / net.replace(":", "-")


def trial_folder(dataset: str, net: str, how: str) -> Path:
    """The folder of a training of a net that was made otherwise than the model that is kept."""
    return TRIALS / dataset / net.replace(":", "-") / how


def trial_folders(dataset: str, net: str = "*") -> tuple[Path, ...]:
    """Every folder of a net's, or of all nets', that holds a trained trial."""
    pattern = f"{net.replace(':', '-')}/*/{MODEL_NAME}"
    return tuple(sorted(path.parent for path in (TRIALS / dataset).glob(pattern)))


def net_folders(dataset: str, net: str) -> tuple[Path, ...]:
    """The folders of a net: of the model that is kept, unless only trials are there, and those."""
    folder, trials = model_folder(dataset, net), trial_folders(dataset, net)
    return (folder, *trials) if folder.exists() or not trials else trials


def trained_folders(dataset: str) -> tuple[Path, ...]:
    """Every folder of the data set that holds a trained model."""
    return tuple(sorted(path.parent for path in (MODELS / dataset).glob(f"*/{MODEL_NAME}")))


def exported_files(folder: Path) -> tuple[Path, ...]:
    """The exported files in a model's folder, sorted by name."""
    return tuple(sorted(path for path in folder.glob("[!.]*") if path.suffix in MODEL_SUFFIXES))


def deployed_files() -> tuple[Path, ...]:
    """The model files that `edgegolf deploy` put into use on this machine, sorted by name."""
    models = _deployment() / "models"
    return tuple(sorted(path for path in models.glob("*/*") if path.suffix in MODEL_SUFFIXES))


def deployed_runtime(path: Path) -> str | None:
    """What runs one of `deployed_files`, as `edgegolf deploy` chose it; None for other files.

    Raises:
        EdgegolfError: What is written down of the deployment is damaged.
    """
    deployment = _deployment()
    file = deployment / "manifest.json"
    if deployment / "models" not in path.parents or not file.is_file():
        return None
    manifest = parse_json(read_bounded(file, MAXIMUM_BYTES), str(file))
    try:
        runtimes = {model["name"]: str(model["runtime"]) for model in manifest["models"]}
    except (KeyError, TypeError):
        raise EdgegolfError(f"{file} is damaged", hint="deploy anew") from None
    return runtimes.get(path.relative_to(deployment / "models").as_posix())


def _deployment() -> Path:
    import platformdirs

    return platformdirs.user_data_path("edgegolf", appauthor=False) / "current"


def find_files(name: str, dataset: str | None) -> tuple[Path, ...]:
    """The model files that a user means by a file's path or by the name of a net.

    Args:
        name: A path, or a net whose files are looked for below `models/`, where there are none
            below `trials/`, and then among those that come with the package.
        dataset: The data set's folder to look in; None looks in all.

    Raises:
        EdgegolfError: There is no such file, and no exported file of such a net.
    """
    path = Path(name)
    if path.is_dir():
        found = exported_files(path)
        if found:
            return found
    elif path.exists() or path.suffix:
        return (path,)
    net, data = escape(name.replace(":", "-")), escape(dataset) if dataset else "*"
    for place, folders in ((MODELS, net), (TRIALS, f"{net}/*"), (BUNDLED, net)):
        found = tuple(
            file
            for folder in sorted(place.glob(f"{data}/{folders}"))
            for file in exported_files(folder)
        )
        if found:
            return found
    raise EdgegolfError(
        f"{name!r} is neither a file nor a net with exported files below {MODELS}/",
        hint=suggestion(name, net_names())
        or "give a .tflite or .onnx file, or make the files: edgegolf train, edgegolf export",
    )


def check_given(path: Path) -> Path:
    """The path, if it is there; else what may be meant is told: a net's files, or another path.

    Raises:
        EdgegolfError: There is no such file or folder.
    """
    if path.is_symlink() or path.exists():
        if not path.name:  # "." and "/": of the name of what is given others are made
            path = path.absolute()
        if not path.name:
            raise EdgegolfError(f"{path} is all there is", "give a file or a folder in it")
        return path
    name = path.name.replace("-", ":")
    if path.parent == Path() and not path.suffix and (net := likeliest(name, net_names())):
        files = [str(each) for each in find_files(net, None)]
        raise EdgegolfError(
            f"{path} does not exist",
            f"did you mean a file of {net!r}? there are {', '.join(files)}",
        )
    raise no_such_file(path)


def net_names() -> tuple[str, ...]:
    """The nets that have a folder below `models/`, or come with the package, sorted."""
    folders = (*MODELS.glob("*/*"), *BUNDLED.glob("*/*"))
    return tuple(sorted({path.name.replace("-", ":") for path in folders}))


def bundled_or_own(pattern: str) -> tuple[Path, ...]:
    """What fits a pattern below `models/`; where nothing does, of what comes with the package."""
    return tuple(MODELS.glob(pattern)) or tuple(BUNDLED.glob(pattern))


def user_store() -> Path:
    """Where results of sweeps go if nothing else is said: in the user's folder for data."""
    from platformdirs import user_data_path

    return user_data_path("edgegolf") / "sweeps.sqlite"
