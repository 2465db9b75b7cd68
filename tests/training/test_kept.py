"""A model that is there stays, with its files, unless a better one of the same training comes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from stale import stale_files

from edgegolf.cards import FileFacts, read_card, write_card
from edgegolf.errors import EdgegolfError
from edgegolf.files import sha256
from edgegolf.training import Job, Trained, results_folder, train_nets
from edgegolf.training.results import run_folder
from edgegolf.training.worker import train as train_run

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

NET = "pooled_linear"
FOLDER = Path("models/digits") / NET
OWN_EPOCHS = 12


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished runs, trained in this process: others take seconds to import TensorFlow."""
    folder = tmp_path_factory.mktemp("runs")
    for epochs, seed in ((OWN_EPOCHS, 0), (OWN_EPOCHS, 1), (OWN_EPOCHS, 2), (2, 0)):
        job = Job(NET, "digits", seed, epochs, folder / f"{epochs}-{seed}")
        train_run(job, 1, lambda _: None)
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").symlink_to(runs)


def train(
    epochs: int | None = None, seed: int = 0, out: Path | None = None, replace: bool = False
) -> Trained:
    folder = results_folder(NET, "digits", epochs, out, replace)
    run = Path("runs") / f"{epochs or OWN_EPOCHS}-{seed}"
    shutil.copytree(run, run_folder(folder, seed), dirs_exist_ok=True)
    (trained,) = train_nets(
        [NET], "digits", [seed], epochs, out, 1, False, replace, lambda *_: None
    )
    return trained


def add_file(folder: Path, content: bytes = b"a file") -> Path:
    """An exported file of the model in a folder."""
    path = folder / "int8.tflite"
    path.write_bytes(content)
    card = read_card(folder)
    assert card is not None
    write_card(folder, replace(card, files={path.name: FileFacts(6, sha256(path), 0.8, 0.8, 0.1)}))
    return path


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()}


def change_kept(**changes: float) -> None:
    """Another validation accuracy of the kept seed."""
    card = read_card(FOLDER)
    assert card is not None
    seeds = tuple(replace(each, **changes) for each in card.seeds)  # type: ignore[arg-type]
    write_card(FOLDER, replace(card, seeds=seeds))


@pytest.mark.long
def test_a_second_training_keeps_the_model_and_its_files() -> None:
    assert train(OWN_EPOCHS).is_new
    add_file(FOLDER)
    before = stamps(FOLDER)
    again = train()  # the recipe's own epochs are the same training
    assert not again.is_new
    assert stamps(FOLDER) == before
    assert stale_files(FOLDER) == []


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_trained() -> None:
    Path("file").touch()
    with pytest.raises(EdgegolfError, match=r"^file/here cannot be written: Not a"):
        train_nets([NET], "digits", [0], None, Path("file/here"), 1, False, False, lambda *_: None)


def test_other_epochs_go_to_a_folder_of_their_own_unless_replacing() -> None:
    train()
    file = add_file(FOLDER)
    before = stamps(FOLDER)
    trial = train(2)
    assert trial.folder == Path("trials/digits/pooled_linear/2-epochs")
    assert trial.card.recipe["epochs"] == 2
    assert stamps(FOLDER) == before
    with pytest.raises(EdgegolfError, match="trained otherwise"):
        train(2, out=FOLDER)
    assert train(2, replace=True).folder == FOLDER
    assert not file.exists()
    card = read_card(FOLDER)
    assert card is not None
    assert (card.recipe["epochs"], card.files) == (2, {})
    assert card.model_sha256 == sha256(FOLDER / "model.keras")


def test_the_own_epochs_have_the_models_folder_and_nothing_is_lost() -> None:
    train(2)
    first = sha256(FOLDER / "model.keras")
    assert train().folder == FOLDER
    aside = Path("trials/digits/pooled_linear/2-epochs")
    assert sha256(aside / "model.keras") == first
    assert not train(2).is_new


def test_other_data_go_to_a_folder_of_their_own() -> None:
    train()
    card = read_card(FOLDER)
    assert card is not None
    write_card(FOLDER, replace(card, dataset_checksum="other"))
    trial = train()
    assert trial.folder.parent == Path("trials/digits/pooled_linear")
    assert trial.folder.name.startswith("12-epochs-")


def test_an_unfinished_run_is_not_thrown_away_by_another_training() -> None:
    train()
    (FOLDER / "card.json").unlink()  # as while the first training goes on
    assert train(2).folder != FOLDER


def test_of_several_seeds_the_better_model_stays_and_all_are_told_of() -> None:
    train()
    file = add_file(FOLDER)
    change_kept(validation_accuracy=1.0)
    assert not train(seed=1).is_new
    card = read_card(FOLDER)
    assert card is not None
    assert ([each.seed for each in card.seeds], card.seed) == ([0, 1], 0)
    assert file.exists()
    change_kept(validation_accuracy=0.0)
    assert train(seed=2).is_new
    assert not file.exists()  # it was of the other model
    card = read_card(FOLDER)
    assert card is not None
    assert ([each.seed for each in card.seeds], card.seed) == ([0, 1, 2], 2)
    assert (FOLDER / "history.json").read_text().count('"seed"') == 3


def test_files_of_another_model_are_told_apart() -> None:
    train()
    file = add_file(FOLDER)
    assert stale_files(FOLDER) == []
    (FOLDER / "mine.tflite").write_bytes(b"a user's")
    (FOLDER / "float32.onnx").write_bytes(b"not in the card")
    assert stale_files(FOLDER) == [FOLDER / "float32.onnx"]
    file.write_bytes(b"changed")
    assert stale_files(FOLDER) == [FOLDER / "float32.onnx", file]
    file.write_bytes(b"a file")
    (FOLDER / "model.keras").write_bytes(b"another model")
    assert stale_files(FOLDER) == [FOLDER / "float32.onnx", file]


def test_files_committed_in_the_repository_are_of_their_models() -> None:
    folders = [path.parent for path in Path(__file__).parents[2].glob("models/*/*/card.json")]
    assert len(folders) >= 15
    assert [path for folder in folders for path in stale_files(folder)] == []
