"""Models that guess what an image shows, each with the time it took."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegolf.cards import read_card
from edgegolf.data import SOURCES
from edgegolf.demo.decoding import SECONDS, Decoder
from edgegolf.errors import EdgegolfError
from edgegolf.files import read_bounded, sha256
from edgegolf.runtimes import open_session
from edgegolf.runtimes.classify import dequantize, image_shape, to_input
from edgegolf.workspace import MODELS, bundled_or_own, deployed_files, deployed_runtime, find_files

if TYPE_CHECKING:
    from edgegolf.runtimes.session import Array, Session

DRAWINGS, PHOTOS = "drawings", "photos"
NO_CARD = "images that no card names"  # what a file without a card was trained on
SCHEMA = "edgegolf.guess/1"
MAXIMUM_IMAGE_BYTES = 1 << 26


@dataclass(frozen=True)
class OpenModel:
    """A model file, loaded."""

    net: str  # the zoo's name of it; empty where no card says it
    file: str  # the name of its file
    bytes: int  # the size of its file
    runtime: str  # the name of the runtime that it is loaded into
    shape: tuple[int, int, int]  # height, width and channels of the images that it takes
    session: Session  # the loaded model
    group: str  # what it was trained on, for people
    class_names: tuple[str, ...] = ()  # what its outputs mean; empty where that is not known
    parameters: int | None = None  # how many it has; None where no card says so
    # Of this very file on the test images, a fraction; None where no card says so.
    accuracy: float | None = None
    # Held during an inference, of which a session does one at a time.
    turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.net} {self.file}".strip()

    @property
    def subject(self) -> str:
        """What to ask it about: nets that take grey see DRAWINGS, others PHOTOS."""
        return DRAWINGS if self.shape[2] == 1 else PHOTOS

    def to_dict(self) -> dict[str, Any]:
        """What is known of it, as plain JSON values."""
        return {
            "model": self.name,
            "group": self.group,
            "bytes": self.bytes,
            "parameters": self.parameters,
            "accuracy": self.accuracy,
        }


@dataclass(frozen=True)
class Guess:
    """What one model says of one image."""

    model: OpenModel  # the model
    probabilities: tuple[float, ...]  # one for each class
    microseconds: float  # how long the inference took, without copying in and out

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the probabilities are of; numbers where nothing is known of this many classes."""
        names = self.model.class_names
        count = len(self.probabilities)
        return names if len(names) == count else tuple(map(str, range(count)))

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.class_names[int(np.argmax(self.probabilities))]

    @property
    def probability(self) -> float:
        """Of that class."""
        return max(self.probabilities)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, schema edgegolf.guess/1."""
        return {
            "schema": SCHEMA,
            **self.model.to_dict(),
            "class": self.label,
            "probability": self.probability,
            "microseconds": self.microseconds,
            "probabilities": self.probabilities,
            "classes": self.class_names,
        }


@dataclass(frozen=True)
class Answer:
    """What models say of one image."""

    guesses: tuple[Guess, ...]  # one for each model
    # What they looked at: for each shape that one of them takes, uint8 pixels of it.
    seen: dict[tuple[int, int, int], Array]


def open_models(names: Sequence[str], dataset: str | None) -> tuple[OpenModel, ...]:
    """Load the models of these names, as `find_files` knows them: by what they were trained on.

    Those for drawings come before those for photos, and within a group the best come first.
    Without names: those deployed on this machine; where none is, every net's int8 file.

    Raises:
        EdgegolfError: There are none, or one cannot be loaded, or is no classifier of images.
    """
    models = [open_model(path) for path in _find(names, dataset)]
    return tuple(sorted(models, key=lambda m: (m.subject, m.group, -(m.accuracy or 0), m.name)))


def for_subject(models: Sequence[OpenModel], subject: str | None) -> tuple[OpenModel, ...]:
    """Those of DRAWINGS or PHOTOS; by default of the first subject that there are models for."""
    chosen = subject or models[0].subject
    return tuple(model for model in models if model.subject == chosen)


def _find(names: Sequence[str], dataset: str | None) -> tuple[Path, ...]:
    if names:
        return tuple(dict.fromkeys(path for name in names for path in find_files(name, dataset)))
    found = deployed_files() or bundled_or_own("*/*/int8.tflite")
    if not found:
        raise EdgegolfError(
            f"no model is deployed on this machine, and there is none below {MODELS}/",
            hint="name a .tflite or .onnx file",
        )
    cards = {path: read_card(path.parent) for path in found}
    datasets = {path: card.dataset if card else None for path, card in cards.items()}
    chosen = tuple(path for path in found if dataset in (None, datasets[path]))
    if not chosen:
        raise EdgegolfError(
            f"no model was trained on {dataset!r}",
            hint=f"use {' or '.join(sorted({str(name) for name in datasets.values()}))}",
        )
    return chosen


def open_model(path: Path) -> OpenModel:
    """Load a model file into its runtime and run it once, to warm it up.

    A deployed one's is that of its deployment, others' the preferred one that is installed.

    Raises:
        EdgegolfError: It cannot be loaded, or is no classifier of images.
    """
    card = read_card(path.parent)
    source = SOURCES.get(card.dataset) if card else None
    facts = card.files.get(path.name) if card else None
    session = open_session(path, deployed_runtime(path))
    model = OpenModel(
        net=card.net if card else "",
        file=path.name,
        bytes=path.stat().st_size,
        runtime=session.runtime,
        shape=image_shape(session),
        session=session,
        group=source.title if source else card.dataset if card else NO_CARD,
        class_names=source.class_names if source else (),
        parameters=card.parameters if card else None,
        accuracy=facts.test_accuracy if facts and facts.sha256 == sha256(path) else None,
    )
    guess_pixels(model, np.zeros(model.shape, np.uint8))
    return model


def guess(
    models: Sequence[OpenModel],
    decoder: Decoder,
    data: bytes,
    name: str = "the image",
    seconds: float = SECONDS,
) -> Answer:
    """What each model says of an image file, prepared once for each size.

    Args:
        models: What to ask.
        decoder: What decodes the image.
        data: The file's content.
        name: What to call the image in errors.
        seconds: How long decoding it may take.

    Raises:
        EdgegolfError: As `Decoder.prepare`, or a model does not run.
    """
    seen = decoder.prepare(data, (model.shape for model in models), name, seconds)
    return Answer(tuple(guess_pixels(model, seen[model.shape]) for model in models), seen)


def guess_file(models: Sequence[OpenModel], decoder: Decoder, path: Path) -> Answer:
    """As `guess`, of a file. Raises EdgegolfError, also if it is none."""
    return guess(models, decoder, read_bounded(path, MAXIMUM_IMAGE_BYTES), str(path))


def guess_pixels(model: OpenModel, pixels: Array) -> Guess:
    """What a model says of pixels, uint8 of its shape. Raises EdgegolfError if it does not run."""
    session = model.session
    numbers = to_input(session, pixels[None])
    with model.turn:
        session.set_inputs([numbers])
        start = time.perf_counter_ns()
        session.invoke()
        elapsed = time.perf_counter_ns() - start
        (output,) = session.get_outputs()
    scores = dequantize(output.reshape(len(numbers), -1)[0], session.outputs[0])
    return Guess(model, tuple(probabilities(scores).tolist()), elapsed / 1000)


def probabilities(scores: Array) -> Array:
    """Scores that are no probabilities yet, as logits are, through softmax; others as they are."""
    if scores.min() >= 0 and abs(scores.sum() - 1) < 0.05:  # int8 probabilities are rounded
        return scores
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()
