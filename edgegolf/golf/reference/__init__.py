"""A second opinion on TFLite files: their evaluation with NumPy, bit by bit."""

from edgegolf.golf.reference.evaluation import evaluate

__all__ = ["evaluate"]
