"""From finished runs to a model's folder: `model.keras`, `history.json`, `card.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import ClassVar

from edgegolf.cards import Card, SeedResult, exports_in, read_card, write_card
from edgegolf.errors import EdgegolfError
from edgegolf.files import remove_leftovers, sha256, write_atomically
from edgegolf.records import from_file, to_json
from edgegolf.surroundings import current_commit, package_versions
from edgegolf.training.worker import WEIGHTS_NAME, Job, Run, read_run
from edgegolf.zoo import named_recipe

HISTORY_NAME = "history.json"
MODEL_NAME = "model.keras"
RUNS_NAME = ".training"  # checkpoints and finished runs, one folder per seed
MAXIMUM_HISTORY_BYTES = 1 << 26

Hyper = Mapping[str, float | str | bool]  # hyper-parameters by name

PACKAGES = (
    "edgegolf", "keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy", "tf2onnx", "onnx",
    "onnxruntime", "ai-edge-litert", "tflite-runtime",
)  # fmt: skip


@dataclass(frozen=True)
class History:
    """The runs that a model was chosen from, epoch by epoch."""

    SCHEMA: ClassVar[str] = "edgegolf.history/1"
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Trained:
    """What training left in a model's folder."""

    folder: Path  # the model's folder
    card: Card  # what is known of it
    is_new: bool  # the model was written now; if not, the one that was there is as good or better
    runs: int  # how many runs there are
    finished_before: int  # how many of them were already finished


def run_folder(destination: Path, seed: int) -> Path:
    """Where the checkpoints of one seed go, inside a model's folder."""
    return destination / RUNS_NAME / f"seed-{seed}"


def is_same_training(a: Hyper, b: Hyper) -> bool:
    """Whether results of two recipes can be compared; the precision is the machine's choice."""
    return {**a, "precision": ""} == {**b, "precision": ""}


def destination(folder: Path, job: Job, checksum: str, trial: Callable[[str], Path]) -> Path:
    """Where the results of a job go, so that no model that was trained otherwise is lost.

    That is the model's folder if it is free, or holds results of the same recipe and data. The
    recipe's own number of epochs has a right to it: what is there moves to a trial's folder.

    Args:
        folder: The model's folder.
        job: What is to be trained.
        checksum: Of the data.
        trial: The folder of a trial by how it was made.
    """
    wanted = job.recipe.training.to_dict(), checksum
    found = _training_in(folder)
    if found is None or _same(found, wanted):
        return folder
    own = named_recipe(job.net).training.to_dict(), checksum
    if _same(own, wanted) and found[1] == checksum and not _same(own, found):
        aside = trial(_how(own, found))
        if not aside.exists():
            aside.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(aside)
            return folder
    return trial(_how(own if own[1] == found[1] else found, wanted))


def _training_in(folder: Path) -> tuple[Hyper, str] | None:
    """The recipe and the data's checksum of what a folder holds, also of an unfinished run."""
    if (card := read_card(folder)) is not None:
        return card.recipe, card.dataset_checksum
    for path in sorted(folder.glob(f"{RUNS_NAME}/*")):
        if (run := read_run(path)) is not None:
            return run.recipe, run.dataset_checksum
    return None


def _same(a: tuple[Hyper, str], b: tuple[Hyper, str]) -> bool:
    return is_same_training(a[0], b[0]) and a[1] == b[1]


def _how(usual: tuple[Hyper, str], found: tuple[Hyper, str]) -> str:
    """A name for how a training differs from the usual: by its epochs, or by more."""
    name = f"{found[0]['epochs']}-epochs"
    if _same(({**usual[0], "epochs": found[0]["epochs"]}, usual[1]), found):
        return name
    content = json.dumps([{**found[0], "precision": ""}, found[1]], sort_keys=True)
    return f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def write_results(
    jobs: Sequence[Job], runs: Sequence[Run], folder: Path, replace_other: bool = False
) -> tuple[Card, bool]:
    """Keep the run with the best validation accuracy, and write down all of them.

    Runs of the same recipe and data that the folder already tells of count, too: their model stays
    where no new one is better, with the files that were exported from it.

    Args:
        jobs: One per seed.
        runs: Their finished runs, in the same order.
        folder: The model's folder.
        replace_other: Whether a model that was trained otherwise, or better, is replaced.

    Returns:
        The card, and whether the model is new.
    """
    remove_leftovers(folder)
    chosen = max(range(len(runs)), key=lambda index: _result(runs[index]).validation_accuracy)
    job, run = jobs[chosen], runs[chosen]
    weights = job.folder / WEIGHTS_NAME
    model_path = folder / MODEL_NAME
    card = read_card(folder)
    known: tuple[SeedResult, ...] = ()
    if card is not None and _same(
        (card.recipe, card.dataset_checksum), (run.recipe, run.dataset_checksum)
    ):
        in_place = model_path.is_file() and sha256(model_path) == card.model_sha256
        is_this = in_place and sha256(weights) == card.model_sha256
        if is_this or (not replace_other and _is_better(card, run, in_place)):
            return _with_seeds(folder, card, runs), False
        known = () if replace_other else card.seeds

    for path in exports_in(folder):  # they would pass for this model's
        path.unlink()
    history = (*runs, *_other_runs(folder, known, runs))
    write_atomically(folder / HISTORY_NAME, to_json(History(history)))
    recipe = named_recipe(job.net)
    size = run.size
    assert size is not None  # the run is finished
    card = Card(
        net=recipe.name,
        dataset=run.dataset,
        dataset_checksum=run.dataset_checksum,
        parameters=size.parameters,
        trained_parameters=size.trained_parameters,
        macs=size.macs,
        recipe=run.recipe,
        article_accuracy=recipe.article.accuracy,
        article_epochs=recipe.article.epochs,
        seeds=_merged([_result(run) for run in runs], known),
        seed=run.seed,
        model_sha256=sha256(weights),
        packages=package_versions(PACKAGES),
        commit=current_commit(),
        tested_on=date.today().isoformat(),
    )
    write_card(folder, card)
    # Last: where only this is missing, the same command does it.
    write_atomically(model_path, weights.read_bytes())
    return card, True


def _is_better(card: Card, run: Run, in_place: bool) -> bool:
    """Whether the card's model is better than a run's; if it is not there, equal is not enough."""
    best = next(result for result in card.seeds if result.seed == card.seed).validation_accuracy
    found = _result(run).validation_accuracy
    return best >= found if in_place else best > found


def _with_seeds(folder: Path, card: Card, runs: Sequence[Run]) -> Card:
    """The card of a model that stays, and of more seeds."""
    seeds = _merged(card.seeds, [_result(run) for run in runs])
    if seeds == card.seeds:
        return card
    old = _other_runs(folder, card.seeds, ())
    seen = {run.seed for run in old}
    history = History((*old, *(run for run in runs if run.seed not in seen)))
    write_atomically(folder / HISTORY_NAME, to_json(history))
    card = replace(card, seeds=seeds, tested_on=date.today().isoformat())
    write_card(folder, card)
    return card


def _other_runs(folder: Path, known: Sequence[SeedResult], runs: Sequence[Run]) -> tuple[Run, ...]:
    """The runs of known seeds in the folder's history, without those of `runs`."""
    path = folder / HISTORY_NAME
    if not known or not path.is_file():
        return ()
    history = from_file(path, History, MAXIMUM_HISTORY_BYTES)
    fresh = {run.seed for run in runs}
    return tuple(run for run in history.runs if run.seed not in fresh)


def _merged(first: Sequence[SeedResult], more: Sequence[SeedResult]) -> tuple[SeedResult, ...]:
    """The results of all seeds, by seed; the first where both have one."""
    by_seed = {result.seed: result for result in (*more, *first)}
    return tuple(by_seed[seed] for seed in sorted(by_seed))


def _result(run: Run) -> SeedResult:
    if run.validation_accuracy is None or run.test_accuracy is None:
        raise EdgegolfError(f"the run of {run.net} with seed {run.seed} is not finished")
    return SeedResult(
        seed=run.seed,
        validation_accuracy=run.validation_accuracy,
        test_accuracy=run.test_accuracy,
        epochs=len(run.epochs),
        seconds=run.seconds,
    )
