"""Files made to take memory or time out of proportion, or to end in an internal exception."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).parent / "cases" / "hostile"
VERBS = {".tflite": ("bench", "golf", "anatomy", "c", "circuit"),
         ".onnx": ("bench", "golf", "anatomy"), ".toml": ("sweep",)}  # fmt: skip
ADDRESS_SPACE = 6 << 30  # the runtimes' libraries alone reserve 3 GiB
CPU_SECONDS = 60
BAD_INPUT = 2


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))


@pytest.mark.parametrize(
    ("file", "verb"),
    [
        pytest.param(file, verb, id=f"{verb} {file.name}")
        for file in sorted(CASES.iterdir())
        for verb in VERBS[file.suffix]
    ],
)
def test_a_hostile_file_is_done_or_refused_in_bounds(tmp_path: Path, file: Path, verb: str) -> None:
    shutil.copy(file, tmp_path)
    options = {"bench": ("--min-time", "0.01"), "sweep": ("--dataset", "digits", "--table")}
    done = subprocess.run(
        [sys.executable, "-m", "edgegolf", verb, file.name, *options.get(verb, ())],
        cwd=tmp_path, capture_output=True, text=True, check=False, preexec_fn=limit,
    )  # fmt: skip
    assert done.returncode in (0, BAD_INPUT), done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == (done.returncode == BAD_INPUT), done.stderr
    assert "MemoryError" not in done.stderr
