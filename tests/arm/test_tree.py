"""The emulated boards are what they say they are."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from edgegolf.emulation import tree
from edgegolf.emulation.boards import BOARDS, RASPBERRY_PI_4, RASPBERRY_PI_5, Board
from edgegolf.errors import EdgegolfError

pytestmark = pytest.mark.arm

ROOT = Path(tree.__file__).parents[2]
HWCAP = {"asimd": 1 << 1, "asimdhp": 1 << 10, "asimddp": 1 << 20}  # asm/hwcap.h
ASK = """
import ctypes, os, pathlib
getauxval = ctypes.CDLL("libc.so.6").getauxval
getauxval.restype = ctypes.c_ulong
print(os.uname().machine, getauxval(ctypes.c_ulong(16)))
print(pathlib.Path("/proc/cpuinfo").read_text())
"""


def ask(board: Board) -> tuple[str, int, str]:
    root = tree.board_tree(board)
    command = [tree.QEMU_NAMES[board.architecture], "-cpu", board.cpu, "-L", root]
    done = subprocess.run(
        [*command, root / "usr/bin/python3", "-c", ASK], capture_output=True, text=True, check=True
    )
    first, _, rest = done.stdout.partition("\n")
    machine, hwcap = first.split()
    return machine, int(hwcap), rest


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_board_shows_itself_to_programs(board: Board) -> None:
    machine, _, cpuinfo = ask(board)
    assert machine == board.architecture
    assert board.model in cpuinfo
    assert cpuinfo.count(f"CPU part\t: {board.part[1]}\n") == 4
    assert cpuinfo.count(f"Features\t: {board.features}\n") == 4


@pytest.mark.parametrize("board", [RASPBERRY_PI_4, RASPBERRY_PI_5], ids=lambda board: board.name)
def test_processor_has_the_vector_instructions_that_its_files_tell_of(board: Board) -> None:
    _, hwcap, _ = ask(board)
    for feature, bit in HWCAP.items():
        assert bool(hwcap & bit) == (feature in board.features.split()), feature
    assert bool(hwcap & HWCAP["asimddp"]) == (board is RASPBERRY_PI_5)


def test_tree_is_made_once_and_anew_for_other_packages() -> None:
    first = tree.board_tree(RASPBERRY_PI_4)
    made = first.stat().st_mtime_ns
    assert tree.board_tree(RASPBERRY_PI_4) == first
    assert first.stat().st_mtime_ns == made
    assert tree.board_tree(RASPBERRY_PI_5) != first


def test_failed_tree_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(EdgegolfError, match="no-such-package"):
        tree.debian_tree("armv7l", ("no-such-package",))
    left = [path.suffix for path in (tmp_path / "edgegolf" / "emulation").iterdir()]
    assert left == [".lock"]


def pins(path: Path) -> dict[str, str]:
    """The versions in a requirements file that count for Python 3.11 on aarch64."""
    environment = {
        "python_version": "3.11",
        "python_full_version": "3.11.2",
        "platform_machine": "aarch64",
        "sys_platform": "linux",
    }
    lines = [line for line in path.read_text().splitlines() if re.match(r"\w", line)]
    found = [Requirement(line) for line in lines]
    return {
        each.name: str(each.specifier)
        for each in found
        if each.marker is None or each.marker.evaluate(environment)
    }


@pytest.mark.parametrize("architecture", tree.DEBIAN_NAMES)
def test_emulated_runtimes_are_those_of_the_constraints(architecture: str) -> None:
    requirements = Path(tree.__file__).with_name(f"requirements-{architecture}.txt")
    assert pins(requirements).items() <= pins(ROOT / "constraints.txt").items()
