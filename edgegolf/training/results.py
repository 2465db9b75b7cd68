"""From finished runs to a model's folder: `model.keras`, `history.json`, `card.json`."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar

from edgegolf.cards import Card, SeedResult, write_card
from edgegolf.errors import EdgegolfError
from edgegolf.files import atomic_path, sha256, write_atomically
from edgegolf.records import to_json
from edgegolf.training.worker import WEIGHTS_NAME, Job, Run
from edgegolf.zoo import Recipe
from edgegolf.zoo.summary import summarize

HISTORY_NAME = "history.json"
MODEL_NAME = "model.keras"
RUNS_NAME = ".training"  # checkpoints and finished runs, one folder per seed

PACKAGES = (
    "edgegolf", "keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy", "tf2onnx", "onnx",
    "onnxruntime", "ai-edge-litert", "tflite-runtime",
)  # fmt: skip


@dataclass(frozen=True)
class History:
    """The runs that a model was chosen from, epoch by epoch."""

    SCHEMA: ClassVar[str] = "edgegolf.history/1"
    runs: tuple[Run, ...]


def run_folder(destination: Path, seed: int) -> Path:
    """Where the checkpoints of one seed go, inside a model's folder."""
    return destination / RUNS_NAME / f"seed-{seed}"


def write_results(recipe: Recipe, jobs: Sequence[Job], runs: Sequence[Run], folder: Path) -> Card:
    """Keep the run with the best validation accuracy, and write down all of them.

    Args:
        recipe: The net.
        jobs: One per seed.
        runs: Their finished runs, in the same order.
        folder: The model's folder.
    """
    from edgegolf.data import load_dataset
    from edgegolf.quiet import import_keras

    chosen = max(range(len(runs)), key=lambda index: _result(runs[index]).validation_accuracy)
    job, run = jobs[chosen], runs[chosen]
    model_path = folder / MODEL_NAME
    with atomic_path(model_path) as temporary:
        temporary.write_bytes((job.folder / WEIGHTS_NAME).read_bytes())
    write_atomically(folder / HISTORY_NAME, to_json(History(tuple(runs))))

    import_keras()
    dataset = load_dataset(run.dataset)
    model = recipe.build(dataset.image_shape, dataset.classes)
    layers = summarize(model)
    card = Card(
        net=recipe.name,
        dataset=run.dataset,
        dataset_checksum=run.dataset_checksum,
        parameters=model.count_params(),
        trained_parameters=sum(layer.parameters for layer in layers if layer.trained),
        macs=sum(layer.macs for layer in layers),
        recipe=run.recipe,
        article_accuracy=recipe.article.accuracy,
        article_epochs=recipe.article.epochs,
        seeds=tuple(_result(run) for run in runs),
        seed=run.seed,
        model_sha256=sha256(model_path),
        packages=_package_versions(),
        commit=current_commit(),
    )
    write_card(folder, card)
    return card


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


def _package_versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def current_commit() -> str | None:
    """The commit of the repository that this package runs from, None outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
