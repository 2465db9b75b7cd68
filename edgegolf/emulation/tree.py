"""A board's root folder: Debian and the runtimes for its architecture, without running any of it.

Each part is kept in the user's cache folder under a name that tells what went into it; a part whose
ingredients change is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgegolf.emulation.boards import Board, hardware_files
from edgegolf.errors import EdgegolfError

SUITE = "bookworm"
PYTHON_VERSION = "3.11"  # that of the suite
GLIBC_VERSION = (2, 36)  # that of the suite
PACKAGES = ("python3-minimal", "libpython3.11-stdlib", "libgomp1", "libstdc++6")
DEBIAN_NAMES = {"aarch64": "arm64", "armv7l": "armhf"}
EXTRA_PACKAGES = {"aarch64": (), "armv7l": ("python3-numpy",)}
QEMU_NAMES = {"aarch64": "qemu-aarch64", "armv7l": "qemu-arm"}

HOST_PACKAGES = ("qemu-user", "mmdebstrap", "gcc", "libc6-dev")
HOST_COMMANDS = ("qemu-aarch64", "qemu-arm", "mmdebstrap", "cc")


def prepare_host() -> None:
    """Install the Debian packages that emulation needs, where they are missing and we may.

    Raises:
        EdgegolfError: Something is missing and cannot be installed.
    """
    missing = [command for command in HOST_COMMANDS if shutil.which(command) is None]
    if not missing:
        return
    install = f"apt-get install -y --no-install-recommends {' '.join(HOST_PACKAGES)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise EdgegolfError(
            f"emulation needs {', '.join(missing)}",
            hint=f"on Debian, Ubuntu or Raspberry Pi OS: sudo {install}",
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(("apt-get", "update"), environment)
    run(tuple(install.split()), environment)


def board_tree(board: Board) -> Path:
    """The root folder of a board, for `qemu -L`: Debian with Python, and the board's hardware."""
    debian = debian_tree(board.architecture, PACKAGES + EXTRA_PACKAGES[board.architecture])
    files = hardware_files(board)

    def make(folder: Path) -> None:
        for entry in debian.iterdir():
            (folder / entry.name).symlink_to(entry)
        write_files(files, folder)

    return cached(board.name, (str(debian), files), make)


def debian_tree(architecture: str, packages: Sequence[str]) -> Path:
    """The root folder of a Debian with some packages and those that they depend on, unpacked only.

    Args:
        architecture: As `uname -m` prints it: `aarch64` or `armv7l`.
        packages: Names of Debian packages.

    Raises:
        EdgegolfError: A package cannot be had.
    """
    command = (
        "mmdebstrap",
        "--quiet",
        "--variant=extract",
        f"--architectures={DEBIAN_NAMES[architecture]}",
        f"--include={','.join(packages)}",
        SUITE,
    )
    return cached(
        f"debian-{architecture}",
        command,
        lambda folder: run((*command, str(folder), *_mirror())),
    )


def _mirror() -> tuple[str, ...]:
    """The archive that this Debian uses, without updates: those change, and with them the counts.

    Nothing on other systems, where mmdebstrap knows one.
    """
    command = ("apt-get", "indextargets", "--format", "$(SITE)", "Identifier: Packages")
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ()
    archives = sorted({site for site in said.split() if site.rstrip("/").endswith("/debian")})
    return tuple(f"deb {site} {SUITE} main" for site in archives[:1])


def runtime_packages(architecture: str) -> Path:
    """A folder with the runtimes and numpy for an architecture, to have in `PYTHONPATH`.

    They are unpacked here, by this machine's pip: under emulation that takes much longer.

    Raises:
        EdgegolfError: A package cannot be had.
    """
    requirements = _requirements(architecture)
    glibcs = [f"{GLIBC_VERSION[0]}_{minor}" for minor in range(GLIBC_VERSION[1], 16, -1)]
    options = (
        *("--quiet", "--no-deps", "--no-compile", "--only-binary=:all:", "--implementation=cp"),
        *(f"--python-version={PYTHON_VERSION}", f"--abi=cp{PYTHON_VERSION.replace('.', '')}"),
        *(f"--platform=manylinux_{glibc}_{architecture}" for glibc in glibcs),
        f"--platform=manylinux2014_{architecture}",
    )
    pip = (sys.executable, "-m", "pip", "install", f"--requirement={requirements}", *options)
    return cached(
        f"runtimes-{architecture}",
        (options, requirements.read_text()),
        lambda folder: run((*pip, f"--target={folder}")),
    )


def package_versions(architecture: str) -> dict[str, str]:
    """The versions in `runtime_packages`, by the packages' names."""
    lines = _requirements(architecture).read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def write_files(files: dict[str, str], folder: Path) -> None:
    """Write texts into files below a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _requirements(architecture: str) -> Path:
    return Path(__file__).with_name(f"requirements-{architecture}.txt")


def cached(name: str, ingredients: object, make: Callable[[Path], None]) -> Path:
    """The cache's folder for these ingredients, made if it is not there, whole or not at all."""
    import platformdirs

    digest = hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()[:16]
    cache = platformdirs.user_cache_path("edgegolf", appauthor=False) / "emulation"
    destination = cache / f"{name}-{digest}"
    if destination.exists():
        return destination
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with alone(cache / f".{destination.name}.lock"):
            if not destination.exists():  # another process was faster
                with tempfile.TemporaryDirectory(
                    dir=cache, prefix=f".partial-{name}-", ignore_cleanup_errors=True
                ) as temporary:
                    folder = Path(temporary) / "root"
                    folder.mkdir()
                    make(folder)
                    folder.rename(destination)
    except OSError as error:
        raise EdgegolfError(
            f"{destination} cannot be made: {error.strerror or error}",
            hint="check the folder's permissions and free space",
        ) from None
    return destination


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """A block that one process and thread at a time is in, of those that name the same file."""
    import fcntl  # not on Windows

    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(command: Sequence[str], environment: dict[str, str] | None = None) -> None:
    """Run a command that says something only when it fails.

    Raises:
        EdgegolfError: It fails; with the end of what it says.
    """
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment,
        check=False,
    )  # fmt: skip
    if done.returncode:
        said = " ".join(done.stderr.split()[-60:])
        raise EdgegolfError(f"{' '.join(command[:4])} … failed: {said}")
