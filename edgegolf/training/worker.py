"""One training run, in a process of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgegolf.allocator import keep_freed_memory
from edgegolf.data import load_dataset
from edgegolf.errors import require
from edgegolf.files import atomic_path, read_bounded, write_atomically
from edgegolf.quiet import import_keras, import_tensorflow
from edgegolf.records import from_json, to_json
from edgegolf.training.batches import Batches
from edgegolf.training.full_matrix_adam import full_matrix_adam
from edgegolf.zoo import Recipe, find_recipe, with_epochs

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

STEPS_PER_EXECUTION = 20  # steps between two returns to Python; above 20 nothing is gained


@dataclass(frozen=True)
class Job:
    """What one process is to train.

    Attributes:
        net: The net's name in the zoo.
        dataset: The data set's name.
        seed: What weights, order and shifts are drawn from.
        epochs: How long to train; None takes the recipe's.
        folder: Where checkpoints and results go.
    """

    net: str
    dataset: str
    seed: int
    epochs: int | None
    folder: Path

    @property
    def recipe(self) -> Recipe:
        """The net's recipe, for this number of epochs."""
        recipe = find_recipe(self.net)
        return recipe if self.epochs is None else with_epochs(recipe, self.epochs)


@dataclass(frozen=True)
class EpochResult:
    """What was measured after one epoch."""

    epoch: int
    loss: float
    validation_accuracy: float
    seconds: float


@dataclass(frozen=True)
class Run:
    """A training run so far.

    Attributes:
        net: The net's name.
        dataset: The data set's name.
        dataset_checksum: Of the data set's content.
        seed: Its seed.
        recipe: The hyper-parameters.
        epochs: What was measured after each finished epoch.
        validation_accuracy: Of the finished run's averaged weights; None while it goes on.
        test_accuracy: The same on the test split.
    """

    SCHEMA: ClassVar[str] = "edgegolf.run/1"
    net: str
    dataset: str
    dataset_checksum: str
    seed: int
    recipe: dict[str, float | str]
    epochs: tuple[EpochResult, ...]
    validation_accuracy: float | None = None
    test_accuracy: float | None = None

    @property
    def seconds(self) -> float:
        """Time spent in the finished epochs."""
        return sum(epoch.seconds for epoch in self.epochs)


@dataclass(frozen=True)
class Progress:
    """How far a run is: steps done and in all, and the last validation accuracy."""

    done: int
    total: int
    validation_accuracy: float | None


RUN_NAME = "run.json"
WEIGHTS_NAME = "model.keras"


def read_run(folder: Path) -> Run | None:
    """The run in a folder, or None where there is none."""
    path = folder / RUN_NAME
    return from_json(read_bounded(path, 1 << 24), Run, str(path)) if path.is_file() else None


def train(job: Job, threads: int, report: Callable[[Progress], None]) -> Run:
    """Train until the recipe's end, from the last checkpoint where there is one.

    Writes `run.json` after every epoch and `model.keras` at the end. A checkpoint of other
    hyper-parameters or another data set is thrown away. Same job, same threads, same machine:
    same weights.

    Args:
        job: What to train.
        threads: Threads of every operation.
        report: Called now and then.

    Raises:
        EdgegolfError: A package is missing, or the data set does not fit the net.
    """
    keras = prepare(threads)
    recipe = job.recipe
    training = recipe.training
    dataset = load_dataset(job.dataset)
    run = _matching_run(job, recipe, dataset.checksum)
    if run.test_accuracy is not None:
        return run

    keras.utils.set_random_seed(job.seed)
    model = recipe.build(dataset.image_shape, dataset.classes)
    train_split, validation_split = dataset.split("train"), dataset.split("validation")
    batches = Batches(
        train_split.images, train_split.labels, training.batch_size, training.shift, job.seed
    )
    compile_model(model, recipe, len(batches))
    recorder = _recorder(keras, job, run, len(batches), training.epochs, report)
    averaging = (
        [keras.callbacks.SwapEMAWeights(swap_on_epoch=False)] if training.average_share else []
    )
    model.fit(
        _as_keras_dataset(keras, batches, first_epoch=len(run.epochs)),
        epochs=training.epochs,
        validation_data=(_as_pixels(validation_split.images), validation_split.labels),
        validation_batch_size=500,
        shuffle=False,
        verbose=0,
        callbacks=[
            keras.callbacks.BackupAndRestore(job.folder / "backup", delete_checkpoint=False),
            *averaging,
            recorder,
        ],
    )
    test_split = dataset.split("test")
    finished = Run(
        **{
            **vars(recorder.run),
            "validation_accuracy": _accuracy(model, validation_split),
            "test_accuracy": _accuracy(model, test_split),
        }
    )
    # Without the optimizer's state, which is as large as the weights or larger.
    trained = recipe.build(dataset.image_shape, dataset.classes)
    trained.set_weights(model.get_weights())
    with atomic_path(job.folder / WEIGHTS_NAME) as temporary:
        trained.save(temporary)
    write_atomically(job.folder / RUN_NAME, to_json(finished))
    shutil.rmtree(job.folder / "backup", ignore_errors=True)
    return finished


def compile_model(model: keras.Model, recipe: Recipe, steps_per_epoch: int) -> None:
    """Give the model the recipe's loss, optimizer and schedule."""
    keras = require("keras", extra="train")
    training = recipe.training
    steps = training.epochs * steps_per_epoch
    warm_up = round(training.warm_up_epochs * steps_per_epoch)
    warm_up = min(warm_up, steps // 5)  # short runs warm up for a fifth of their steps
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, steps - warm_up),
        warmup_target=training.learning_rate,
        warmup_steps=max(1, warm_up),
    )
    optimizers = {"adam": keras.optimizers.Adam, "full_matrix_adam": full_matrix_adam}
    model.compile(
        optimizer=optimizers[training.optimizer](
            learning_rate=schedule,
            global_clipnorm=training.clip_norm or None,
            use_ema=training.average_share > 0,
            ema_momentum=1 - 1 / max(2.0, training.average_share * steps),
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
        steps_per_execution=min(STEPS_PER_EXECUTION, steps_per_epoch),
        jit_compile=keras.backend.backend() == "jax",
    )


def prepare(threads: int) -> Any:
    """Set up memory, threads and Keras before the first tensor exists."""
    keep_freed_memory()
    keras = import_keras()
    if keras.backend.backend() == "tensorflow":
        tensorflow = import_tensorflow()
        with suppress(RuntimeError):  # already running, in the tests' own process
            tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
            tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    return keras


def _matching_run(job: Job, recipe: Recipe, checksum: str) -> Run:
    """The run in the job's folder if it is of the same recipe and data, else a new one."""
    fresh = Run(job.net, job.dataset, checksum, job.seed, asdict(recipe.training), ())
    found = read_run(job.folder)
    key = ("net", "dataset", "dataset_checksum", "seed", "recipe")
    if found is not None and all(getattr(found, name) == getattr(fresh, name) for name in key):
        return found
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    return fresh


def _recorder(
    keras: Any,
    job: Job,
    run: Run,
    steps_per_epoch: int,
    epochs: int,
    report: Callable[[Progress], None],
) -> Any:
    """A callback that writes `run.json` after every epoch and reports progress."""

    class Recorder(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.run = run
            self._started = time.monotonic()
            self._epoch = len(run.epochs)

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            self._started = time.monotonic()
            self._epoch = epoch

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            last = self.run.epochs[-1].validation_accuracy if self.run.epochs else None
            done = self._epoch * steps_per_epoch + batch + 1
            report(Progress(done, epochs * steps_per_epoch, last))

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            logs = logs or {}
            result = EpochResult(
                epoch=epoch,
                loss=float(logs["loss"]),
                validation_accuracy=float(logs["val_accuracy"]),
                seconds=time.monotonic() - self._started,
            )
            # A resumed epoch replaces what an interrupted run noted of it.
            earlier = tuple(item for item in self.run.epochs if item.epoch < epoch)
            self.run = Run(**{**vars(self.run), "epochs": (*earlier, result)})
            write_atomically(job.folder / RUN_NAME, to_json(self.run))

    return Recorder()


def _as_keras_dataset(keras: Any, batches: Batches, first_epoch: int) -> Any:
    class KerasBatches(keras.utils.PyDataset):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._epoch = first_epoch
            self._plan = batches.epoch(first_epoch)

        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            return batches.batch(*self._plan[index])

        def on_epoch_end(self) -> None:
            self._epoch += 1
            self._plan = batches.epoch(self._epoch)

    return KerasBatches()


def _as_pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.astype("float32") / 255


def _accuracy(model: keras.Model, split: Any) -> float:
    scores = model.predict(_as_pixels(split.images), batch_size=500, verbose=0)
    return float((scores.argmax(axis=1) == split.labels).mean())
