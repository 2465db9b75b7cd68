"""Models that guess what an image shows, each with the time it took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegolf.cards import read_card
from edgegolf.demo.preparing import prepare, read_image
from edgegolf.errors import EdgegolfError
from edgegolf.files import read_bounded
from edgegolf.runtimes import open_session
from edgegolf.runtimes.classify import dequantize, image_shape, to_input
from edgegolf.workspace import MODELS, deployed_files, deployed_runtime, find_files

if TYPE_CHECKING:
    from PIL.Image import Image

    from edgegolf.runtimes.session import Array, Session

SCHEMA = "edgegolf.guess/1"
MAXIMUM_IMAGE_BYTES = 1 << 26


@dataclass(frozen=True)
class OpenModel:
    """A model file, loaded.

    Attributes:
        name: What people call it.
        bytes: The size of its file.
        runtime: The name of the runtime that it is loaded into.
        shape: Height, width and channels of the images that it takes.
        session: The loaded model; one inference at a time.
    """

    name: str
    bytes: int
    runtime: str
    shape: tuple[int, int, int]
    session: Session


@dataclass(frozen=True)
class Guess:
    """What one model says of one image.

    Attributes:
        model: The model's name.
        bytes: The size of its file.
        probabilities: One for each class.
        microseconds: How long the inference took, without copying in and out.
    """

    model: str
    bytes: int
    probabilities: tuple[float, ...]
    microseconds: float

    @property
    def label(self) -> str:
        """The most probable class."""
        return str(int(np.argmax(self.probabilities)))

    @property
    def probability(self) -> float:
        """Of that class."""
        return max(self.probabilities)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, schema edgegolf.guess/1."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "bytes": self.bytes,
            "class": self.label,
            "probability": self.probability,
            "microseconds": self.microseconds,
            "probabilities": self.probabilities,
        }


def find_models(names: Sequence[str], dataset: str | None) -> tuple[Path, ...]:
    """The model files of these names, as `find_files` knows them.

    Without names: those deployed on this machine; where none is, every net's int8 file.

    Raises:
        EdgegolfError: There are none.
    """
    if names:
        return tuple(dict.fromkeys(path for name in names for path in find_files(name, dataset)))
    found = deployed_files() or tuple(sorted(MODELS.glob(f"{dataset or '*'}/*/int8.tflite")))
    if not found:
        raise EdgegolfError(
            f"no model is deployed on this machine, and there is none below {MODELS}/",
            hint="name a .tflite or .onnx file",
        )
    return found


def open_model(path: Path) -> OpenModel:
    """Load a model file into its runtime and run it once, to warm it up.

    A deployed one's is that of its deployment, others' the preferred one that is installed.

    Raises:
        EdgegolfError: It cannot be loaded, or is no classifier of images.
    """
    card = read_card(path.parent)
    session = open_session(path, deployed_runtime(path))
    shape = image_shape(session)
    model = OpenModel(
        name=f"{card.net} {path.name}" if card else path.name,
        bytes=path.stat().st_size,
        runtime=session.runtime,
        shape=shape,
        session=session,
    )
    guess_pixels(model, np.zeros(shape, np.uint8))
    return model


def guess(models: Sequence[OpenModel], image: Image) -> tuple[Guess, ...]:
    """What each model says of an image, prepared once for each size.

    Raises:
        EdgegolfError: The image shows nothing, or a model does not run.
    """
    prepared = {shape: prepare(image, shape) for shape in dict.fromkeys(m.shape for m in models)}
    return tuple(guess_pixels(model, prepared[model.shape]) for model in models)


def guess_file(models: Sequence[OpenModel], path: Path) -> tuple[Guess, ...]:
    """As `guess`, of an image file. Raises EdgegolfError, also if it is none."""
    image = read_image(read_bounded(path, MAXIMUM_IMAGE_BYTES), str(path))
    return guess(models, image)


def guess_pixels(model: OpenModel, pixels: Array) -> Guess:
    """What a model says of pixels, uint8 of its shape. Raises EdgegolfError if it does not run."""
    session = model.session
    numbers = to_input(session, pixels[None])
    session.set_inputs([numbers])
    start = time.perf_counter_ns()
    session.invoke()
    elapsed = time.perf_counter_ns() - start
    (output,) = session.get_outputs()
    scores = dequantize(output.reshape(len(numbers), -1)[0], session.outputs[0])
    return Guess(model.name, model.bytes, tuple(probabilities(scores).tolist()), elapsed / 1000)


def probabilities(scores: Array) -> Array:
    """Scores that are no probabilities yet, as logits are, through softmax; others as they are."""
    if scores.min() >= 0 and abs(scores.sum() - 1) < 0.05:  # int8 probabilities are rounded
        return scores
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()
