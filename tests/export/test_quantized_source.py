"""A quantized `.tflite` file that is exported: it keeps its integers, and odd samples are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ir_nets import pixels, plain_net

from edgegolf.export import ExportOptions, export_model
from edgegolf.export.variants import OWN_SCALES, write_int8
from edgegolf.passes.fusion import fuse_activations
from edgegolf.quantize.calibration import calibrate, ranges


def test_what_a_quantized_input_cuts_off_is_told(tmp_path: Path) -> None:
    graph = fuse_activations(plain_net())
    shown = pixels(graph, 50)
    path = tmp_path / "net.tflite"
    path.write_bytes(write_int8(graph, calibrate(graph, ranges(graph, (shown,)), OWN_SCALES)))
    options = ExportOptions(("tflite",), ("int8",), quick=True)
    for factor, is_told in ((1, False), (3, True)):
        samples = tmp_path / "samples.npz"
        np.savez(samples, x=factor * shown)
        made = export_model(path, tmp_path / "out", samples, options)
        assert [file.name for file in made.files] == ["int8.tflite"]
        assert made.files[0].max_difference == 0
        assert made.files[0].bytes <= path.stat().st_size
        assert any("cuts off" in note for note in made.notes) == is_told
