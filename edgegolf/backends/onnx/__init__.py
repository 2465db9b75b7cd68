"""Writes a `Graph` as an `.onnx` file, with images in the layout that onnxruntime computes in."""

from edgegolf.backends.onnx.writer import computes_in_integers, layouts, unsupported, write

__all__ = ["computes_in_integers", "layouts", "unsupported", "write"]
