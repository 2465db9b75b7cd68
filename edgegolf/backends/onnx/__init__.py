"""Writes a `Graph` as an `.onnx` file, with images in the layout that onnxruntime computes in."""

from edgegolf.backends.onnx.writer import unsupported, write

__all__ = ["unsupported", "write"]
