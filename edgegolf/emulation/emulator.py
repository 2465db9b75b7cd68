"""Runs Python functions on an emulated board, and counts the instructions of parts of them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import edgegolf
from edgegolf.emulation.boards import Board
from edgegolf.emulation.tree import QEMU_NAMES, board_tree, cached, run, runtime_packages
from edgegolf.errors import EdgegolfError
from edgegolf.runtimes.child import run_in_python

T = TypeVar("T")

TIMEOUT = 1800.0  # seconds; a damaged file can hold an endless loop
# The number of the kernel's call getppid, which neither Python nor a runtime makes by itself.
MARKS = {"aarch64": 173, "armv7l": 64}
# numpy's, which Debian's configuration, not done in a tree that is only unpacked, would link to.
LIBRARIES = {
    "aarch64": (),
    "armv7l": ("usr/lib/arm-linux-gnueabihf/blas", "usr/lib/arm-linux-gnueabihf/lapack"),
}
PLUGIN_SOURCE = Path(__file__).with_name("count.c")


def run_on_board(
    board: Board, function: Callable[..., T], *args: Any, options: tuple[str, ...] = ()
) -> T:
    """Call a function in an emulated board's Python, which has numpy and the runtimes.

    Args:
        board: Where.
        function: A function of a module of this package.
        *args: Its arguments; they and the result are pickled.
        options: Of QEMU.

    Raises:
        EdgegolfError: Raised by the function, the process crashed, or something is missing here.
    """
    root = board_tree(board)
    qemu = (QEMU_NAMES[board.architecture], "-cpu", board.cpu, "-L", str(root), *options)
    libraries = ":".join(str(root / folder) for folder in LIBRARIES[board.architecture])
    environment = {
        "PYTHONPATH": f"{runtime_packages(board.architecture)}:{_package()}",
        "PYTHONHASHSEED": "0",
        "OPENBLAS_NUM_THREADS": "1",
    }
    # Not in the environment of QEMU, which has libraries of its own.
    python = (*qemu, "-E", f"LD_LIBRARY_PATH={libraries}", str(root / "usr/bin/python3"))
    return run_in_python(python, environment, function, *args, timeout=TIMEOUT)


def run_counted(board: Board, function: Callable[..., T], *args: Any) -> tuple[T, tuple[int, ...]]:
    """The same, and how many instructions were executed up to each call of `os.getppid`."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts"
        version, mark = qemu_version(board), MARKS[board.architecture]
        counter = f"{plugin(version)},mark={mark},out={counts}"
        result = run_on_board(board, function, *args, options=("-plugin", counter))
        return result, tuple(map(int, counts.read_text().split()))


def qemu_version(board: Board) -> str:
    """Such as `7.2.22`.

    Raises:
        EdgegolfError: QEMU is not installed.
    """
    name = QEMU_NAMES[board.architecture]
    if shutil.which(name) is None:
        raise EdgegolfError(f"{name} is not installed", hint="apt-get install qemu-user")
    said = subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[2]  # qemu-aarch64 version 7.2.22 (Debian …)


def plugin(qemu: str) -> Path:
    """The plugin that counts, compiled for a version of QEMU."""
    # From version 9 on QEMU takes version 2 of the interface, before 8.2 only version 1.
    version = 2 if int(qemu.split(".")[0]) >= 9 else 1
    options = ("-O2", "-shared", "-fPIC", f"-DPLUGIN_VERSION={version}")

    def compile_into(folder: Path) -> None:
        run(("cc", *options, "-o", str(folder / "count.so"), str(PLUGIN_SOURCE)))

    return cached("plugin", (options, PLUGIN_SOURCE.read_text()), compile_into) / "count.so"


def _package() -> Path:
    """A folder with this package alone: other packages here are not for that processor."""
    source = Path(edgegolf.__file__).parent
    metadata = f"Metadata-Version: 2.1\nName: edgegolf\nVersion: {edgegolf.__version__}\n"

    def link_into(folder: Path) -> None:
        (folder / "edgegolf").symlink_to(source)
        information = folder / f"edgegolf-{edgegolf.__version__}.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(metadata)

    return cached("edgegolf", (str(source), metadata), link_into)
