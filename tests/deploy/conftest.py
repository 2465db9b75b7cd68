from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "runtimes")]

if importlib.util.find_spec("asyncssh") is None:  # the [deploy] extra
    collect_ignore_glob = ["test_*.py"]
