"""Nets that teach another: what they make of an image is its target, in place of its label.

A teacher's probabilities tell which classes an image is like, and how much of it is to be seen
(Hinton, Vinyals and Dean 2015, https://arxiv.org/abs/1503.02531). They are of the very image that
the learner gets, moved, cut and mixed, which keeps it from learning answers by heart (Beyer et al.
2022, https://arxiv.org/abs/2106.05237). The teachers are exported int8 files: of nets that are
small beside the learner, they take a fraction of the time that it takes to learn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.runtimes import open_session
from edgegolf.runtimes.classify import scores
from edgegolf.workspace import MODELS, model_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE_NAME = "int8.tflite"
SEPARATOR = "+"  # between the names of teachers in a recipe

# From batches, uint8 [batches, batch, height, width, channels], to the teachers' mean
# probabilities, float32 [batches, batch, classes].
Teach = Callable[["NDArray[np.uint8]"], "NDArray[np.float32]"]


def teachers_of(names: str, dataset: str, classes: int, threads: int) -> Teach | None:
    """What a recipe's teachers make of batches; None for a recipe without.

    Args:
        names: The nets, with `+` between them.
        dataset: The data set whose images they see; teachers trained on it come first.
        classes: How many there are to tell apart.
        threads: How many images they look at at once.

    Raises:
        EdgegolfError: A teacher has no int8 file, or it is for other classes.
    """
    if not names:
        return None
    files = [_file_of(net, dataset) for net in names.split(SEPARATOR)]
    for file in files:
        with open_session(file) as session:
            output = session.outputs[0]
        if output.example_shape[-1] != classes:
            raise EdgegolfError(
                f"the teacher {file} gives {output}, and {dataset} has {classes} classes",
                hint="a recipe's teachers are nets for the same data set",
            )
    return lambda batches: _mean_probabilities(files, batches, threads)


def _file_of(net: str, dataset: str) -> Path:
    """A teacher's int8 file: of the data set, or of one that it is a version of."""
    for name in (dataset, *sorted(folder.name for folder in MODELS.glob("*"))):
        file = model_folder(name, net) / FILE_NAME
        if file.is_file():
            return file
    raise EdgegolfError(
        f"the teacher {net} has no file {model_folder(dataset, net) / FILE_NAME}",
        hint=f"make it first, with edgegolf train {net} and edgegolf export {net}",
    )


def _mean_probabilities(
    files: Sequence[Path], batches: NDArray[np.uint8], threads: int
) -> NDArray[np.float32]:
    images = batches.reshape(-1, *batches.shape[2:])

    def of_part(part: NDArray[np.uint8]) -> NDArray[np.float32]:
        with ExitStack() as stack:
            sessions = [stack.enter_context(open_session(file)) for file in files]
            return np.sum([scores(session, part) for session in sessions], axis=0)

    with ThreadPoolExecutor(threads) as pool:
        totals = np.concatenate(list(pool.map(of_part, np.array_split(images, threads))))
    # int8 probabilities are rounded, and hardly ever sum to 1.
    shares = totals / totals.sum(axis=1, keepdims=True)
    return shares.reshape(*batches.shape[:2], -1).astype(np.float32)
