"""Edge deployment for code-golfed neural networks."""

import os
from importlib.metadata import version

from edgegolf.api import anatomy, bench, compare, export, golf
from edgegolf.errors import EdgegolfError

__version__ = version("edgegolf")

# onnxruntime 1.31 collects telemetry for its maker, in the user's cache, unless it is told not to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
