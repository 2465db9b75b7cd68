"""LiteRT's profiler, which its Python package has no function for but its library has.

The functions are those of LiteRT's C interface, `litert/c/*.h` of its sources, as they are from
version 2.2 on.
"""

from __future__ import annotations

import ctypes as c
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.runtimes.chatter import without_chatter
from edgegolf.runtimes.tflite_interpreter import litert

OLDEST = (2, 2)
CPU = 1  # of `LiteRtHwAccelerators`
WRITE = 1  # of `LiteRtTensorBufferLockMode`
INVOKE, BUILT_IN, DELEGATED = 1, 2, 8  # of `LiteRtProfilerEventType`
FLOATS = {1: np.float32, 10: np.float16, 11: np.float64}  # of `LiteRtElementType`
BYTES = (3, 9)  # uint8 and int8


@dataclass(frozen=True)
class Event:
    """What a graph of the file, or an operator in it, took once."""

    kind: int  # `INVOKE`, `BUILT_IN` or `DELEGATED`
    name: str  # of a built-in operator as the file has it, else as XNNPACK calls what it made
    graph: int  # its number in the file
    position: int  # of a built-in operator: its number in the graph
    microseconds: int


class _Memory(c.Structure):
    _fields_ = [("allocated", c.c_size_t), ("used", c.c_size_t), ("footprint", c.c_size_t)]


class _Event(c.Structure):
    _fields_ = [
        ("tag", c.c_char_p), ("kind", c.c_int), ("start", c.c_uint64), ("elapsed", c.c_uint64),
        ("before", _Memory), ("after", _Memory), ("position", c.c_uint64), ("graph", c.c_uint64),
        ("source", c.c_int),
    ]  # fmt: skip


class _TensorType(c.Structure):
    _fields_ = [("element", c.c_int), ("layout", c.c_uint32 * 17)]


_PAYLOAD_DELETER = c.CFUNCTYPE(None, c.c_void_p)
_KEEP = _PAYLOAD_DELETER(lambda _: None)  # Python owns the payloads


def events(path: Path, threads: int, seconds: float) -> Iterator[list[Event]]:
    """Run a `.tflite` file for some seconds; what each inference was made of.

    Nothing is given back to LiteRT: call this in a process that ends.

    Raises:
        EdgegolfError: LiteRT is not there, is too old, or does not take the file.
    """
    model = _Model(path, threads)
    model.run()
    end = perf_counter() + seconds
    while True:
        yield model.profiled()
        if perf_counter() > end:
            return


class _Model:
    def __init__(self, path: Path, threads: int) -> None:
        self._file = str(path)
        self._library = _library()
        self._kept: list[Any] = []  # what LiteRT only has pointers to
        environment = self._made("LiteRtCreateEnvironment", 0, None)
        model = self._made("LiteRtCreateModelFromFile", environment, str(path).encode())
        options = self._made("LiteRtCreateOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, CPU)
        self._option(options, b"runtime_options_string", "enable_profiling = true\n")
        self._option(options, b"xnnpack", f"num_threads = {threads}\n")
        with without_chatter():
            self._model = self._made("LiteRtCreateCompiledModel", environment, model, options)
        self._profiler = self._made("LiteRtCompiledModelGetProfiler", self._model)
        signature = self._made("LiteRtGetModelSignature", model, c.c_size_t(0))
        generator = np.random.default_rng(0)
        self._buffers: list[Any] = []
        for kind in ("Input", "Output"):
            count = c.c_size_t()
            self._call(f"LiteRtGetNumSignature{kind}s", signature, c.byref(count))
            buffers = (c.c_void_p * count.value)()
            for number in range(count.value):
                place = c.c_size_t(number)
                tensor = self._made(f"LiteRtGetSignature{kind}TensorByIndex", signature, place)
                described = _TensorType()
                self._call("LiteRtGetRankedTensorType", tensor, c.byref(described))
                name = f"LiteRtGetCompiledModel{kind}BufferRequirements"
                needs = self._made(name, self._model, c.c_size_t(0), place)
                buffers[number] = buffer = self._made(
                    "LiteRtCreateManagedTensorBufferFromRequirements",
                    environment, c.byref(described), needs,
                )  # fmt: skip
                if kind == "Input":
                    self._fill(buffer, described.element, generator)
            self._buffers += [count, buffers]

    def run(self) -> None:
        """One inference."""
        self._call("LiteRtRunCompiledModel", self._model, c.c_size_t(0), *self._buffers)

    def profiled(self) -> list[Event]:
        """What one inference is made of."""
        self._call("LiteRtStartProfiler", self._profiler)
        self.run()
        self._call("LiteRtStopProfiler", self._profiler)
        count = c.c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, c.byref(count))
        found = (_Event * count.value)()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, found)
        return [
            Event(each.kind, each.tag.decode(), each.graph, each.position, each.elapsed)
            for each in found
            if each.kind in (BUILT_IN, DELEGATED) or (each.kind, each.tag) == (INVOKE, b"Invoke")
        ]

    def _fill(self, buffer: c.c_void_p, element: int, generator: np.random.Generator) -> None:
        """Real numbers in 0…1, bytes over all their numbers, other integers zero, as bench does."""
        size, place = c.c_size_t(), c.c_void_p()
        self._call("LiteRtGetTensorBufferPackedSize", buffer, c.byref(size))
        self._call("LiteRtLockTensorBuffer", buffer, c.byref(place), WRITE)
        content = bytes(size.value)
        if element in BYTES:
            content = generator.bytes(size.value)
        elif element in FLOATS:
            kind = np.dtype(FLOATS[element])
            content = generator.random(size.value // kind.itemsize).astype(kind).tobytes()
        c.memmove(place, content, len(content))
        self._call("LiteRtUnlockTensorBuffer", buffer)

    def _option(self, options: c.c_void_p, name: bytes, text: str) -> None:
        payload = c.create_string_buffer(text.encode())
        self._kept.append(payload)
        pointer = c.cast(payload, c.c_void_p)
        made = self._made("LiteRtCreateOpaqueOptions", name, pointer, _KEEP)
        self._call("LiteRtAddOpaqueOptions", options, made)

    def _made(self, name: str, *arguments: Any) -> c.c_void_p:
        """What a function makes: its last argument."""
        made = c.c_void_p()
        self._call(name, *arguments, c.byref(made))
        return made

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise EdgegolfError(f"{self._file} cannot be profiled: {name} failed ({status})")


def _library() -> c.CDLL:
    package = Path(litert().__file__).parent
    there = version("ai-edge-litert")
    if tuple(map(int, there.split(".")[:2])) < OLDEST:
        raise EdgegolfError(
            f"the profiler of ai-edge-litert {there} is of another kind",
            hint="pip install --upgrade ai-edge-litert",
        )
    return c.CDLL(str(package / "libLiteRt.so"))
