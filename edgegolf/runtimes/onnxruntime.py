"""ONNX Runtime (package `onnxruntime`), on the CPU or through any of its execution providers."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgegolf.errors import EdgegolfError, suggestion
from edgegolf.runtimes.session import Array, Session, TensorInfo, one_line

# What brings an execution provider: https://onnxruntime.ai/docs/execution-providers
_PACKAGES = {
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu",
    "nvtensorrtrtx": "onnxruntime-gpu",
    "migraphx": "onnxruntime-migraphx",
    "rocm": "onnxruntime-rocm",
    "dml": "onnxruntime-directml",
    "openvino": "onnxruntime-openvino",
    "qnn": "onnxruntime-qnn",
    "coreml": "onnxruntime (on macOS)",
}
_DEVICE_OF_PROVIDER = {"cuda": "cuda", "tensorrt": "cuda", "nvtensorrtrtx": "cuda"}
_FATAL_ONLY = 4  # log severity; what goes wrong comes as an exception as well
_NUMPY_TYPES = {"float": "float32", "double": "float64"}
_SHOWN_NODES = 8
# Types that numpy lacks, by their number in ONNX: their bits go in and out as unsigned integers.
_RAW_TYPES = {
    "bfloat16": 16,
    "float8e4m3fn": 17,
    "float8e4m3fnuz": 18,
    "float8e5m2": 19,
    "float8e5m2fnuz": 20,
    "uint4": 21,
    "int4": 22,
    "float4e2m1": 23,
    "float8e8m0": 24,
    "uint2": 25,
    "int2": 26,
}
_MISSING_OPERATOR = re.compile(
    r"No Op registered for (?P<name>\S+)|"
    r"Could not find an implementation for (?P<unimplemented>\S+)|"
    r"(?P<custom>\S+?)\(-1\) is not a registered function/op"
)


def onnxruntime() -> Any:
    """The package. Raises EdgegolfError if it is not installed or does not work here."""
    try:
        import onnxruntime as package
    except ImportError as error:
        raise EdgegolfError(
            f"onnxruntime is not installed or does not work here: {error}",
            hint="pip install onnxruntime",
        ) from None
    return package


def check_provider(provider: str) -> None:
    """Look whether a provider is there.

    Raises:
        EdgegolfError: It is not, or the package is not installed or does not work here.
    """
    _find_provider(onnxruntime().get_available_providers(), provider)


class OnnxSession(Session):
    """An `.onnx` file in an `InferenceSession`.

    Inputs and outputs are bound to memory on the provider's device, so that `invoke` runs the
    model and copies nothing.

    Args:
        path: The model file.
        provider: `cpu`, or the name of an execution provider without its ending: `cuda`,
            `tensorrt`, `openvino`, …
        threads: The intra-op threads; operators run one after another.
        profile: Where the name of a profile begins that `end_profile` writes; None for none.

    Raises:
        EdgegolfError: The provider is missing or would leave nodes to the CPU, or the runtime
            cannot load the file.
    """

    def __init__(
        self, path: Path, provider: str, threads: int, profile: Path | None = None
    ) -> None:
        """Load the file."""
        module = onnxruntime()
        self.file = str(path)
        self.runtime, self.provider, self.threads = "onnxruntime", provider, threads
        provider_class = _find_provider(module.get_available_providers(), provider)
        options = module.SessionOptions()
        options.log_severity_level = _FATAL_ONLY
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = module.ExecutionMode.ORT_SEQUENTIAL
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(profile)
        if provider in _DEVICE_OF_PROVIDER and hasattr(module, "preload_dlls"):
            module.preload_dlls()  # CUDA and cuDNN of PyTorch or of NVIDIA's packages
        if provider != "cpu":
            options.add_session_config_entry(_fallback_guard(module), "1")
        try:
            self._session = module.InferenceSession(str(path), options, [provider_class])
        except Exception as error:
            raise _load_error(path, error) from None
        if provider != "cpu":
            _refuse_fallback(self._session, path, provider, provider_class)
        self.inputs = tuple(map(_tensor_info, self._session.get_inputs()))
        self.outputs = tuple(map(_tensor_info, self._session.get_outputs()))
        self._make_value = module.OrtValue.ortvalue_from_numpy
        self._device = _DEVICE_OF_PROVIDER.get(provider, "cpu")
        self._binding = self._session.io_binding()
        # Strings, sequences, maps and optional values cannot be bound.
        self._is_bound = not any(
            info.dtype == "string" or "(" in info.dtype for info in (*self.inputs, *self.outputs)
        )
        self._bind_outputs()

    def end_profile(self) -> Path:
        """Write the profile of all inferences so far, JSON of onnxruntime's own."""
        return Path(self._session.end_profiling())

    def _bind_outputs(self) -> None:
        self._binding.clear_binding_outputs()
        for output in self.outputs:
            self._binding.bind_output(output.name, self._device)

    def _set_inputs(self, arrays: Sequence[Array]) -> None:
        if not self._is_bound:
            self._feeds = {info.name: item for info, item in zip(self.inputs, arrays, strict=True)}
            return
        self._values = [
            self._bind(info, item) for info, item in zip(self.inputs, arrays, strict=True)
        ]

    def _bind(self, info: TensorInfo, array: Array) -> Any:
        # On the CPU onnxruntime borrows the memory: it gets a copy, which lives as long as bound.
        copy = array.copy(order="C")
        if info.dtype in _RAW_TYPES:
            value = onnxruntime().OrtValue.ortvalue_from_numpy_with_onnx_type(
                copy, _RAW_TYPES[info.dtype]
            )
        else:
            value = self._make_value(copy, self._device)
        self._binding.bind_ortvalue_input(info.name, value)
        return copy, value

    def _invoke(self) -> None:
        if not self._is_bound:
            self._results = self._session.run(None, self._feeds)
            return
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception:  # outputs of other shapes do not fit into those of the run before
            self._bind_outputs()
            self._session.run_with_iobinding(self._binding)

    def _get_outputs(self) -> list[Array]:
        if not self._is_bound:
            return list(self._results)
        if any(info.dtype in _RAW_TYPES for info in self.outputs):
            return [_bits(value) for value in self._binding.get_outputs()]
        return list(self._binding.copy_outputs_to_cpu())


def _bits(value: Any) -> Array:
    """An output's elements, or its bytes where numpy has no such type."""
    if value.data_type().removeprefix("tensor(").removesuffix(")") not in _RAW_TYPES:
        return np.asarray(value.numpy())
    size = value.tensor_size_in_bytes()
    return np.frombuffer(ctypes.string_at(value.data_ptr(), size), np.uint8)


def _find_provider(available: Sequence[str], provider: str) -> str:
    by_name = {name.removesuffix("ExecutionProvider").lower(): name for name in available}
    if provider not in by_name:
        package = _PACKAGES.get(provider)
        raise EdgegolfError(
            f"this onnxruntime has no provider {provider!r}, only {', '.join(sorted(by_name))}",
            hint=f"pip uninstall onnxruntime; pip install {package}"
            if package
            else suggestion(provider, (*by_name, *_PACKAGES))
            or "https://onnxruntime.ai/docs/execution-providers lists which package has it",
        )
    return by_name[provider]


def _fallback_guard(module: Any) -> str:
    if hasattr(module.InferenceSession, "get_provider_graph_assignment_info"):
        return "session.record_ep_graph_assignment_info"
    return "session.disable_cpu_ep_fallback"  # before 1.24: refuses without naming the nodes


def _refuse_fallback(session: Any, path: Path, provider: str, provider_class: str) -> None:
    if provider_class not in session.get_providers():
        raise EdgegolfError(
            f"onnxruntime could not start the provider {provider!r} for {path}",
            hint="check that its driver and libraries are installed: "
            "https://onnxruntime.ai/docs/execution-providers",
        )
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return
    left = [
        f"{node.op_type} {node.name!r}" if node.name else node.op_type
        for assigned in session.get_provider_graph_assignment_info()
        if assigned.ep_name == "CPUExecutionProvider"
        for node in assigned.get_nodes()
    ]
    if left:
        more = f" and {len(left) - _SHOWN_NODES} more" if len(left) > _SHOWN_NODES else ""
        raise EdgegolfError(
            f"{path}: {provider!r} leaves {len(left)} nodes on the CPU: "
            f"{', '.join(left[:_SHOWN_NODES])}{more}",
            hint="use --provider cpu, or operators that this provider has",
        )


def _tensor_info(argument: Any) -> TensorInfo:
    element = argument.type
    if element.startswith("tensor("):
        element = element.removeprefix("tensor(").removesuffix(")")
    return TensorInfo(
        name=argument.name,
        shape=tuple(size if isinstance(size, int) else None for size in argument.shape),
        dtype=_NUMPY_TYPES.get(element, element),
    )


def _load_error(path: Path, error: Exception) -> EdgegolfError:
    reason = one_line(error)
    missing = _MISSING_OPERATOR.search(reason)
    if missing:
        name = next(filter(None, missing.groups()))
        return EdgegolfError(
            f"{path} uses the operator {name}, which onnxruntime does not have",
            hint="try a newer onnxruntime, or export with another opset",
        )
    if "External data path does not exist" in reason or "external data" in reason.lower():
        return EdgegolfError(
            f"{path} keeps its weights in another file, which is missing or wrong: {reason}",
            hint="put the data file beside the model under the name it had when it was saved",
        )
    reason = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", reason)
    is_newer = "Unsupported model IR version" in reason
    return EdgegolfError(
        f"{path} cannot be loaded by onnxruntime: {reason}",
        hint="try a newer onnxruntime"
        if is_newer
        else "check that the file is a complete .onnx model",
    )
