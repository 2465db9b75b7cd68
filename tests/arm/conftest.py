"""Emulated boards. Without root and without the Debian packages these tests are skipped."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from edgegolf.emulation.tree import prepare_host
from edgegolf.errors import EdgegolfError

sys.path.append(str(Path(__file__).parents[1] / "deploy"))


@pytest.fixture(scope="session", autouse=True)
def _host() -> None:
    try:
        prepare_host()
    except EdgegolfError as error:
        if os.geteuid() == 0:
            raise
        pytest.skip(f"{error.message}; {error.hint}")
