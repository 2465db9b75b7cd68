"""Emulated boards. Without root and without the Debian packages these tests are skipped."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest
import stand_in_pi

from edgegolf.emulation.tree import alone, prepare_host
from edgegolf.errors import EdgegolfError

sys.path.append(str(Path(__file__).parents[1] / "deploy"))
LOCK = Path(tempfile.gettempdir()) / f"edgegolf-test-arm-{os.geteuid()}.lock"


@pytest.fixture(scope="session", autouse=True)
def _host() -> None:
    try:
        with alone(LOCK):  # these tests run in several processes
            prepare_host()
            if os.geteuid() == 0:
                stand_in_pi.prepare_host()
    except EdgegolfError as error:
        if os.geteuid() == 0:
            raise
        pytest.skip(f"{error.message}; {error.hint}")
