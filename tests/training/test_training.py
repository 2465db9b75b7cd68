"""Real training on the embedded digits: seeds, resuming, results."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgegolf.cards import read_card
from edgegolf.errors import EdgegolfError
from edgegolf.files import PARTIAL
from edgegolf.training import Job, train_nets, worker
from edgegolf.training.jobs import train_all
from edgegolf.training.results import run_folder
from edgegolf.training.worker import read_run
from edgegolf.zoo import find_recipe

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

NET = "double_cnn:2"
EPOCHS = 12


def job(folder: Path, seed: int = 0, epochs: int = EPOCHS, net: str = NET) -> Job:
    return Job(net, "digits", seed, epochs, folder)


def weights(folder: Path) -> list[np.ndarray]:
    return keras.saving.load_model(folder / "model.keras", compile=False).get_weights()


def ignore(*_: object) -> None:
    pass


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "double_cnn"
    train_nets([NET], "digits", [0, 1], EPOCHS, folder, 1, False, False, ignore)
    return folder


def test_training_learns(trained: Path) -> None:
    card = read_card(trained)
    assert card is not None
    assert card.parameters == 932
    assert [result.seed for result in card.seeds] == [0, 1]
    assert all(result.test_accuracy > 0.5 for result in card.seeds)  # chance is .1
    assert card.dataset == "digits"
    assert card.recipe["epochs"] == EPOCHS


def test_the_best_seed_on_the_validation_split_is_kept(trained: Path) -> None:
    card = read_card(trained)
    assert card is not None
    best = max(card.seeds, key=lambda result: result.validation_accuracy)
    assert card.seed == best.seed
    best_weights = weights(run_folder(trained, card.seed))
    for kept, original in zip(weights(trained), best_weights, strict=True):
        np.testing.assert_array_equal(kept, original)


def test_history_has_every_epoch(trained: Path) -> None:
    history = json.loads((trained / "history.json").read_text())
    assert [len(run["epochs"]) for run in history["runs"]] == [EPOCHS, EPOCHS]
    losses = [epoch["loss"] for epoch in history["runs"][0]["epochs"]]
    assert losses[-1] < losses[0]


def test_test_accuracy_is_that_of_the_saved_weights(trained: Path) -> None:
    from edgegolf.data import load_dataset

    split = load_dataset("digits").split("test")
    model = keras.saving.load_model(trained / "model.keras", compile=False)
    scores = model.predict(split.images.astype("float32") / 255, verbose=0)
    card = read_card(trained)
    assert card is not None
    expected = next(result for result in card.seeds if result.seed == card.seed)
    assert (scores.argmax(1) == split.labels).mean() == pytest.approx(expected.test_accuracy)


@pytest.mark.long
def test_an_interrupted_run_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    """Killed at any moment, then run again: bit-equal weights."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train_all([job(whole, epochs=16)], 1, ignore)
    script = (
        "from pathlib import Path; from edgegolf.training.worker import Job, train;"
        f"train(Job({NET!r}, 'digits', 0, 16, Path({str(broken)!r})), {os.cpu_count()}, print)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        run = read_run(broken)
        if run is not None and len(run.epochs) >= 2:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    process.wait()
    interrupted = read_run(broken)
    assert interrupted is not None
    assert 2 <= len(interrupted.epochs) < 16
    assert interrupted.test_accuracy is None
    (broken / f"{PARTIAL}left.npz").touch()  # as if it was killed while it wrote
    (run,) = train_all([job(broken, epochs=16)], 1, ignore)
    assert {path.name for path in broken.iterdir()} == {"run.json", "model.keras"}
    assert [epoch.epoch for epoch in run.epochs] == list(range(16))
    for first, second in zip(weights(whole), weights(broken), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_is_told_and_the_run_goes_on_once_there_is_room(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("file systems can be mounted by root only")
    try:
        one = job(tmp_path / "run", epochs=3)
        with pytest.raises(EdgegolfError, match="No space left on device"):
            worker.train(one, 1, ignore)
        assert read_run(one.folder) is not None
        assert list(one.folder.glob(f"{PARTIAL}*")) == []
        subprocess.run(["mount", "-o", "remount,size=1m", str(tmp_path)], check=True)
        assert len(worker.train(one, 1, ignore).epochs) == 3
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_finished_run_is_not_done_again(trained: Path) -> None:
    path = run_folder(trained, 0) / "model.keras"
    before = path.stat().st_mtime_ns
    (again,) = train_nets([NET], "digits", [0, 1], EPOCHS, trained, None, False, False, ignore)
    assert (again.is_new, again.finished_before, again.runs) == (False, 2, 2)
    assert path.stat().st_mtime_ns == before


def test_other_hyper_parameters_start_afresh(tmp_path: Path) -> None:
    for epochs in (2, 3):  # in this process: others take seconds to import TensorFlow
        run = worker.train(job(tmp_path / "run", epochs=epochs), 1, ignore)
        assert len(run.epochs) == epochs


def test_what_is_not_kept_to_judge_by_is_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = find_recipe(NET)
    changed = replace(recipe, training=replace(recipe.training, validation_images=60))
    monkeypatch.setattr(worker, "named_recipe", lambda _: changed)
    seen: list[worker.Progress] = []
    run = worker.train(job(tmp_path, epochs=3), 1, seen.append)
    images = 1797 - 360 - 60  # of which 360 are the test split
    assert seen[-1].total == 3 * (images // changed.training.batch_size)
    assert run.recipe["validation_images"] == 60
    right = np.array([epoch.validation_accuracy for epoch in run.epochs]) * 60
    np.testing.assert_allclose(right, right.round(), atol=1e-9)


def test_seeds_differ(trained: Path) -> None:
    first, second = weights(run_folder(trained, 0)), weights(run_folder(trained, 1))
    assert any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_frozen_layers_stay_as_drawn_from_the_seed(tmp_path: Path) -> None:
    worker.train(job(tmp_path / "run", net="random_cnn", epochs=2), 1, ignore)
    keras.utils.set_random_seed(0)
    from edgegolf.zoo import find_recipe

    drawn = find_recipe("random_cnn").build((28, 28, 1), 10).get_weights()
    trained = weights(tmp_path / "run")
    for index in range(4):
        np.testing.assert_array_equal(trained[index], drawn[index])
    assert not np.array_equal(trained[4], drawn[4])


def test_an_unknown_data_set_is_one_clear_error(tmp_path: Path) -> None:
    bad = Job(NET, "nowhere", 0, 1, tmp_path / "run")
    with pytest.raises(EdgegolfError, match="nowhere"):
        train_all([bad], 1, ignore)


def test_a_crashed_run_says_where_its_last_words_are(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file where a folder is needed")
    with pytest.raises(EdgegolfError, match="training"):
        train_all([job(folder)], 1, ignore)
