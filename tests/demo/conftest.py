"""The server as a user starts it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from demo_models import LINEAR, LOOP_RESNET, ROOT, TIGHT_RESNET


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`edgegolf demo` with two models for drawings and one for photos on a port that was free.

    It must say nothing else.
    """
    said = tmp_path_factory.mktemp("demo") / "stderr"
    models = (LINEAR, LOOP_RESNET, TIGHT_RESNET)
    command = [sys.executable, "-m", "edgegolf", "demo", *models, "--port", "0"]
    with said.open("w") as stderr:
        process = subprocess.Popen(command, cwd=ROOT, stderr=stderr)
    while not (found := re.search(r"http://127\.0\.0\.1:\d+/", said.read_text())):
        assert process.poll() is None, said.read_text()
        time.sleep(0.05)
    yield found[0]
    assert process.poll() is None, "the server ended"
    process.terminate()
    process.wait(timeout=20)
    assert len(said.read_text().splitlines()) == 1
