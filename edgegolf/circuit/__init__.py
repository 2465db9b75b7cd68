"""Circuits from `.tflite` files: written, simulated, synthesized."""
