"""C as one more runtime: an int8 `.tflite` file compiled for this machine, as a library."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgegolf.backends import c as backend
from edgegolf.backends.c import NotInCError, in_integers, unsupported, write
from edgegolf.backends.c.compiling import find_compiler, this_machine
from edgegolf.errors import EdgegolfError
from edgegolf.files import atomic_path, read_bounded
from edgegolf.frontends.tflite import read_graph
from edgegolf.ir import Tensor
from edgegolf.runtimes.child import run_in_child
from edgegolf.runtimes.session import Array, Session, TensorInfo

NAME = "c"
_OPTIONS = ("-std=c99", "-O3", "-march=native", "-fPIC", "-shared")
_TIMEOUT_S = 600

# Input and output are the caller's, so that sessions of one file do not meet in the arena.
_MAIN = """\
#include "net.c"
const char *const edgegolf_tensors = {tensors};
void edgegolf_run(const void *x, void *y) {{
  memcpy(net_input(), x, {given});
  memcpy(y, net_run(), {result});
}}
"""


@functools.cache
def command() -> tuple[str, ...]:
    """The compiler that is at hand. Raises EdgegolfError if there is none."""
    found = find_compiler(None)
    if found is None:
        raise EdgegolfError(
            "the runtime c needs a C compiler, and there is none", "apt install gcc libc6-dev"
        )
    return (*found, *_OPTIONS)


def has_c(path: Path) -> bool:
    """Whether there is C for a file. Raises EdgegolfError if it is damaged."""
    return path.suffix == ".tflite" and not unsupported(read_graph(path))


class CSession(Session):
    """A `.tflite` file in 8-bit integers, compiled; a softmax of floats at its end is left out.

    What was compiled is kept in the user's cache folder, under the content's digest.

    Args:
        path: The model file.
        provider: Must be `cpu`.
        threads: Must be 1.

    Raises:
        EdgegolfError: Another provider or more threads, C cannot have the file, or there is no
            compiler.
    """

    def __init__(self, path: Path, provider: str, threads: int) -> None:
        """Compile the file, if that was not done before, and load it."""
        if (provider, threads) != ("cpu", 1):
            raise EdgegolfError(f"C runs on one thread of the CPU, not {threads} of {provider!r}")
        self.file, self.runtime = str(path), NAME
        self.provider, self.threads = provider, threads
        library = _compiled(path)
        try:
            loaded = ctypes.CDLL(str(library))
        except OSError as error:
            raise EdgegolfError(f"{path}: what was compiled is not loaded: {error}") from None
        described = ctypes.c_char_p.in_dll(loaded, "edgegolf_tensors").value
        given, result = (_info(**each) for each in json.loads(described or b""))
        self.inputs, self.outputs = (given,), (result,)
        self._input = np.zeros(given.example_shape, given.dtype)
        self._output = np.zeros(result.example_shape, result.dtype)
        self._run = loaded.edgegolf_run
        self._places = tuple(
            ctypes.c_void_p(array.ctypes.data) for array in (self._input, self._output)
        )

    def _set_inputs(self, arrays: Sequence[Array]) -> None:
        (array,) = arrays
        if array.dtype != self._input.dtype or array.shape != self._input.shape:
            raise ValueError(f"it takes {self.inputs[0]}")
        self._input[...] = array

    def _invoke(self) -> None:
        self._run(*self._places)

    def _get_outputs(self) -> list[Array]:
        return [self._output.copy()]


def _info(
    name: str, shape: list[int], dtype: str, scale: list[float], zero: list[int]
) -> TensorInfo:
    return TensorInfo(name, tuple(shape), dtype, tuple(scale), tuple(zero))


@functools.cache
def _generator() -> bytes:
    """What decides how a file is compiled besides its content."""
    sources = [*sorted(Path(backend.__file__).parent.glob("*.py")), Path(__file__)]
    return b"".join([*(path.read_bytes() for path in sources), *map(str.encode, command())])


def _compiled(path: Path) -> Path:
    """The library of a file, made if it is not there."""
    import platformdirs

    digest = hashlib.sha256(_generator() + read_bounded(path)).hexdigest()[:32]
    cache = platformdirs.user_cache_path("edgegolf", appauthor=False) / "c"
    library = cache / f"{digest}.so"
    if (
        not library.exists()
    ):  # in a process of its own: it takes memory, and the file is a stranger's
        run_in_child(build, path, library, timeout=_TIMEOUT_S)
    return library


def build(path: Path, library: Path) -> None:
    """Compile a file for this machine.

    Raises:
        EdgegolfError: C cannot have it, or the compiler fails.
    """
    try:
        graph = in_integers(read_graph(path))
        files = write(graph, "net", optimize="speed", target=this_machine())
    except NotInCError as error:
        raise EdgegolfError(f"{path}: C cannot have {error.message}", error.hint) from None
    given, result = graph.inputs[0], graph.outputs[0]
    tensors = json.dumps([_described(given, "input"), _described(result, "output")])
    sizes = {"given": given.size_bytes, "result": result.size_bytes}
    with tempfile.TemporaryDirectory() as folder, atomic_path(library) as made:
        (Path(folder) / "net.h").write_text(files.header)
        (Path(folder) / "net.c").write_text(files.source)
        main = Path(folder) / "main.c"
        main.write_text(_MAIN.format(tensors=json.dumps(tensors), **sizes))
        done = subprocess.run(
            [*command(), str(main), "-o", str(made)], capture_output=True, text=True,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if done.returncode:
            said = next((line for line in done.stderr.splitlines() if "error" in line), "")
            raise EdgegolfError(f"{path}: {command()[0]} refuses its C: {said}")


def _described(tensor: Tensor, name: str) -> dict[str, object]:
    quant = tensor.quant
    return {
        "name": name,
        "shape": tensor.shape,
        "dtype": tensor.dtype,
        "scale": [] if quant is None else list(map(float, quant.scale)),
        "zero": [] if quant is None else list(map(int, quant.zero_point)),
    }
