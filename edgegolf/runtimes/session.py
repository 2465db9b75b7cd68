"""What every runtime offers: a loaded model that can be run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import numpy as np

from edgegolf.errors import EdgegolfError

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
S = TypeVar("S", bound="Session")

# What to set open dimensions to, where any may do: models that look at windows may refuse 1.
OPEN_SIZES = (1, 3)


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a model."""

    name: str  # its name in the file
    shape: tuple[int | None, ...]  # its dimensions; None where the file leaves one open
    dtype: str  # its numpy type, such as `float32`, or `string`
    # The quantization scale, one or one per channel; empty if it is not quantized.
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()  # the quantization zero points, as many as scales

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The shape with open dimensions set to 1."""
        return self.closed(1).shape  # type: ignore[return-value]

    def closed(self, size: int) -> TensorInfo:
        """The same with open dimensions set to a size."""
        return replace(self, shape=tuple(size if each is None else each for each in self.shape))

    def __str__(self) -> str:
        """As in `image float32[1,28,28,1]`."""
        sizes = ",".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.dtype}[{sizes}]"


class Session(ABC):
    """A model loaded into a runtime. Copying in, running and copying out are separate steps.

    Attributes:
        file: The model file.
        runtime: The runtime's name in the registry.
        provider: What it runs on: `cpu`, or an execution provider of onnxruntime.
        threads: How many threads an operator may use.
        inputs: What `set_inputs` takes, in this order.
        outputs: What `get_outputs` returns, in this order.
    """

    file: str
    runtime: str
    provider: str
    threads: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    def set_inputs(self, arrays: Sequence[Array]) -> None:
        """Copy the inputs into the runtime.

        Raises:
            EdgegolfError: Another number of arrays, another type or an impossible shape.
        """
        if len(arrays) != len(self.inputs):
            raise EdgegolfError(
                f"{self.file} takes {len(self.inputs)} inputs, not {len(arrays)}: "
                + "; ".join(map(str, self.inputs))
            )
        try:
            self._set_inputs(arrays)
        except Exception as error:
            raise self._error("refuses its inputs", error) from None

    def invoke(self) -> None:
        """Run the model once on the inputs set before.

        Raises:
            EdgegolfError: The runtime fails.
        """
        try:
            self._invoke()
        except Exception as error:
            raise self._error("fails when it runs", error) from None

    def get_outputs(self) -> list[Array]:
        """Copies of the outputs of the last run.

        Raises:
            EdgegolfError: The runtime has none, as of sizes that the inputs make impossible.
        """
        try:
            return self._get_outputs()
        except Exception as error:
            raise self._error("has no outputs", error) from None

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """Set the inputs, run once, return the outputs. Raises EdgegolfError as those do."""
        self.set_inputs(arrays)
        self.invoke()
        return self.get_outputs()

    def signatures(self) -> dict[str, tuple[TensorInfo, ...]]:
        """The inputs of each of the named functions that a file may have besides its main one."""
        return {}

    def run_signature(self, name: str, arrays: Sequence[Array]) -> list[Array]:
        """As `run`, one of `signatures`; its outputs are in the order of their names."""
        try:
            return self._run_signature(name, arrays)
        except Exception as error:
            raise self._error(f"fails when it runs {name!r}", error) from None

    def close(self) -> None:
        """Free the model. The session is of no use afterwards."""
        self.__dict__.clear()

    def __enter__(self: S) -> S:
        """Itself, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _error(self, what: str, error: Exception) -> EdgegolfError:
        return EdgegolfError(f"{self.file} {what} in {self.runtime}: {one_line(error)}")

    def _run_signature(self, name: str, arrays: Sequence[Array]) -> list[Array]:
        raise KeyError(name)

    @abstractmethod
    def _set_inputs(self, arrays: Sequence[Array]) -> None: ...

    @abstractmethod
    def _invoke(self) -> None: ...

    @abstractmethod
    def _get_outputs(self) -> list[Array]: ...


class Nothing(Session):
    """A model without inputs, operators and outputs: it tells what calling costs."""

    def _set_inputs(self, arrays: object) -> None: ...

    def _invoke(self) -> None: ...

    def _get_outputs(self) -> list[Array]:
        return []


def one_line(error: Exception) -> str:
    """What a runtime's exception says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
