"""The server as a user starts it, and a browser."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TIGHT_RESNET = "models/mnist/tight_resnet/int8.tflite"
LINEAR = "models/mnist/linear/int8.tflite"


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """`edgegolf demo` with two models on a port that was free."""
    command = [sys.executable, "-m", "edgegolf", "demo", TIGHT_RESNET, LINEAR, "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
            yield found[0]
            break
    else:
        pytest.fail("".join(lines))
    assert process.poll() is None, "the server ended"
    process.terminate()
    process.wait(timeout=20)
