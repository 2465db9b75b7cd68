from __future__ import annotations

import io

from edgegolf.export import ExportedFile
from edgegolf.report.file_tables import export_table


def test_the_table_shows_every_file_and_no_markup():
    from rich.console import Console

    files = [
        ExportedFile("int8.tflite", "tflite", "int8", 21_376, 0.9794, 0.9802, 0.123, 31.4, 2.34),
        ExportedFile("float32.onnx", "onnx", "float32", 17_725, None, None, 1.2e-6, 131.0, 1.0),
    ]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(export_table(files, "models/[odd].keras"))
    text = console.export_text()
    for expected in (
        "models/[odd].keras",
        "21,376",
        "97.94 %",
        "98.02 %",
        "31.4 dB",
        "131.0 dB",
        "2.3",
    ):
        assert expected in text
    assert text.count(" – ") == 2
