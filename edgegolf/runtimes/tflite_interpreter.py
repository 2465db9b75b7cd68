"""LiteRT and its predecessor, which have one Python interface.

`ai-edge-litert` is TensorFlow Lite's successor, with its default kernels, which use XNNPACK, or
with the reference kernels, which give the same bits on every machine. `tflite-runtime` is
TensorFlow Lite's own small package, the one for 32-bit systems.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.runtimes.chatter import without_chatter
from edgegolf.runtimes.session import Array, Session, TensorInfo, one_line

_MISSING_OPERATOR = re.compile(
    r"unresolved custom op: (?P<custom>\S+?)\.?(?:\s|$)|"
    r"Didn't find op for builtin opcode '(?P<builtin>\w+)' version '(?P<version>\d+)'|"
    r"Op builtin_code out of range: (?P<code>\d+)"
)


def litert() -> Any:
    """The package's module. Raises EdgegolfError if it is not installed or does not work here."""
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        raise EdgegolfError(
            f"litert is not installed or does not work here: {error}",
            hint="pip install ai-edge-litert (64-bit systems only)",
        ) from None
    return interpreter


def tflite_runtime() -> Any:
    """The package's module. Raises EdgegolfError if it is not installed or does not work here."""
    if int(np.__version__.split(".")[0]) >= 2:  # imports, then fails when an interpreter is made
        raise EdgegolfError(
            f"tflite-runtime does not work with numpy {np.__version__}",
            hint="pip install 'numpy<2', or use --runtime litert",
        )
    try:
        from tflite_runtime import interpreter
    except ImportError as error:
        raise EdgegolfError(
            f"tflite-runtime is not installed or does not work here: {error}",
            hint="pip install 'edgegolf[tflite-runtime]' (Python 3.11 or older), "
            "or use --runtime litert",
        ) from None
    return interpreter


class TfliteSession(Session):
    """A `.tflite` file in an `Interpreter`; its main graph is run.

    Args:
        import_module: Gives the package's module.
        runtime: The runtime's name.
        kernels: Which, as the package calls its resolvers of operators; its default if empty.
        path: The model file.
        provider: Must be `cpu`.
        threads: How many threads an operator may use.

    Raises:
        EdgegolfError: Another provider, or the runtime cannot load the file.
    """

    def __init__(
        self,
        import_module: Callable[[], Any],
        runtime: str,
        kernels: str,
        path: Path,
        provider: str,
        threads: int,
    ) -> None:
        """Load the file."""
        if provider != "cpu":
            raise EdgegolfError(
                f"{runtime} runs on the CPU only, not on {provider!r}",
                hint="export the model as .onnx and use --runtime onnxruntime",
            )
        self.file = str(path)
        self.runtime, self.provider, self.threads = runtime, provider, threads
        module = import_module()
        options: dict[str, Any] = {"model_path": str(path), "num_threads": threads}
        if kernels:
            options["experimental_op_resolver_type"] = module.OpResolverType[kernels]
        try:
            with without_chatter():
                self._interpreter = module.Interpreter(**options)
                self._interpreter.allocate_tensors()
        except Exception as error:
            raise _load_error(path, runtime, error) from None
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        self.inputs = tuple(map(_tensor_info, inputs))
        self.outputs = tuple(map(_tensor_info, outputs))
        self._input_indices = [details["index"] for details in inputs]
        self._output_indices = [details["index"] for details in outputs]
        self._shapes = [tuple(details["shape"]) for details in inputs]

    def signatures(self) -> dict[str, tuple[TensorInfo, ...]]:
        """A file's signatures, with their inputs in the order of their names."""
        return {
            name: tuple(_tensor_info(details) for _, details in self._signed_inputs(name))
            for name in self._interpreter.get_signature_list()
        }

    def _signed_inputs(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        return sorted(self._interpreter.get_signature_runner(name).get_input_details().items())

    def _run_signature(self, name: str, arrays: Sequence[Array]) -> list[Array]:
        names = (key for key, _ in self._signed_inputs(name))
        with without_chatter():
            runner = self._interpreter.get_signature_runner(name)
            outputs = runner(**dict(zip(names, arrays, strict=True)))
        return [outputs[key] for key in sorted(outputs)]

    def _set_inputs(self, arrays: Sequence[Array]) -> None:
        shapes = [array.shape for array in arrays]
        if shapes != self._shapes:
            self._resize(shapes)
        for index, array in zip(self._input_indices, arrays, strict=True):
            self._interpreter.set_tensor(index, array)

    def _resize(self, shapes: list[tuple[int, ...]]) -> None:
        self._shapes = []  # unknown, should this fail half-way
        for index, shape in zip(self._input_indices, shapes, strict=True):
            self._interpreter.resize_tensor_input(index, shape, strict=True)
        with without_chatter():
            self._interpreter.allocate_tensors()
        self._shapes = shapes

    def _invoke(self) -> None:
        self._interpreter.invoke()

    def _get_outputs(self) -> list[Array]:
        return [self._interpreter.get_tensor(index) for index in self._output_indices]


def _tensor_info(details: dict[str, Any]) -> TensorInfo:
    quantization = details["quantization_parameters"]
    signature = details["shape_signature"]
    shape = signature if len(signature) else details["shape"]
    dtype = details["dtype"]
    return TensorInfo(
        name=details["name"],
        shape=tuple(None if size < 0 else int(size) for size in shape),
        dtype="string" if dtype in (bytes, str, np.bytes_, np.str_) else np.dtype(dtype).name,
        scale=tuple(map(float, quantization["scales"])),
        zero_point=tuple(map(int, quantization["zero_points"])),
    )


def _load_error(path: Path, runtime: str, error: Exception) -> EdgegolfError:
    # tflite-runtime puts bytes of a damaged file into its message, which then is no valid text
    reason = one_line(error) if not isinstance(error, UnicodeError) else "not a TFLite model"
    missing = _MISSING_OPERATOR.search(reason)
    if missing:
        found = {key: value for key, value in missing.groupdict().items() if value}
        name = found.get("custom") or found.get("builtin") or f"number {found.get('code')}"
        version = f" version {found['version']}" if "version" in found else ""
        return EdgegolfError(
            f"{path} uses the operator {name}{version}, which {runtime} does not have",
            hint="try another --runtime or a newer version of this one",
        )
    return EdgegolfError(
        f"{path} cannot be loaded by {runtime}: {reason}",
        hint="check that the file is a complete .tflite model",
    )
