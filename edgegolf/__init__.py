"""Edge deployment for code-golfed neural networks."""

from importlib.metadata import version

__version__ = version("edgegolf")
