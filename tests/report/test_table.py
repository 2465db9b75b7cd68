"""Every table that the command line prints, as terminals of several widths show it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import pytest
from rich.console import Console

from edgegolf.anatomy.anatomy import anatomy
from edgegolf.bench.result import read_results
from edgegolf.cards import read_card
from edgegolf.data import DatasetStatus
from edgegolf.deploy.deploy import DeployedModel, Release, Status
from edgegolf.deploy.device import Device
from edgegolf.emulation.instructions import read_instructions
from edgegolf.export import ExportedFile
from edgegolf.export.measuring import Candidate
from edgegolf.footprint.result import Footprint
from edgegolf.golf.golf import golf_file
from edgegolf.records import from_file, from_json
from edgegolf.report.bench_table import bench_table
from edgegolf.report.deploy_table import models_table as deployed_table
from edgegolf.report.deploy_table import releases_table
from edgegolf.report.file_tables import anatomy_table, candidates_table, export_table, golf_table
from edgegolf.report.footprint_table import footprint_tables
from edgegolf.report.instruction_tables import instructions_table
from edgegolf.report.net_tables import data_table, layer_table, models_table, zoo_table
from edgegolf.report.sweep_tables import ablation_table, sweep_tables
from edgegolf.report.table import Table, wrap
from edgegolf.sweep import SweepResults
from edgegolf.sweep.ablation import AblationResults
from edgegolf.zoo import all_recipes
from edgegolf.zoo.summary import LayerSummary

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CARDS = [card for path in sorted((ROOT / "models").glob("*/*")) if (card := read_card(path))]
FOLDER = "models/cifar10/loop_resnet_unshared-144"
LONG = f"{FOLDER}/int8-smallest.tflite"
BENCHED = read_results(DOCS / "costs" / "cifar10.json")
RUNTIMES = {"tflite-runtime": 1_234.5, "litert": 12_345.6}
CANDIDATES = [
    Candidate(f"unrolled, {name}, dead pixels cut, mirrored", kind, b"", size_bytes=123_456,
              accuracy=0.9876, sqnr=32.1, latency_us=RUNTIMES,
              latency_ratio=dict.fromkeys(RUNTIMES, 1.234))
    for name in ("one scale for all channels", "biases of each iteration")
    for kind in ("int8", "int8-weights")
]  # fmt: skip
STATUS = DatasetStatus(
    "cifar10-jpeg", "CC BY-SA 3.0", (45_000, 5_000, 10_000), "write its six files somewhere",
    "/home/somebody/with/a/long/name/and/many/folders/below/that/one/data/cifar-10-batches-bin",
    "0123456789abcdef" * 4, True, "",
)  # fmt: skip
MODEL = DeployedModel("loop_resnet_unshared-144/int8-smallest.tflite", "", 106_274,
                      "tflite-runtime", 0.00123)  # fmt: skip
RELEASE = Release(12, "2026-01-31T12:34:56+00:00", "0.1.0", (MODEL, MODEL, MODEL))
LAYERS = [
    LayerSummary(
        name=f"separable_conv2d_normalization_{number}", kind="DepthwiseConv2D",
        output_shape=(28, 28, 128), applications=8, parameters=1_234_567, trained=False,
        macs=12_345_678,
    )
    for number in range(3)
]  # fmt: skip


def device() -> Device:
    return Device(**{field.name: None for field in fields(Device)})  # no table shows it


def golfed(tmp_path: Path) -> Table:
    source = ROOT / "models/mnist/tight_resnet/float32.tflite"
    return golf_table(golf_file(source, tmp_path / "with-a-rather-long-name.golfed.tflite"))


TABLES = {
    "zoo": lambda _: [zoo_table(all_recipes())],
    "zoo NET": lambda _: [layer_table(LAYERS)],
    "data": lambda _: [data_table([STATUS, replace(STATUS, location="", verified=False)])],
    "export": lambda _: [
        export_table(
            [ExportedFile("int8-fastest.tflite", "tflite", "int8", 21_376_123, 0.9794, 0.98,
                          1.2e-6, 31.2, 1234.5)], f"/home/somebody/{FOLDER}/model.keras",
        )
    ],
    "candidates": lambda _: [candidates_table(CANDIDATES, ".tflite candidates")],
    "models": lambda _: [models_table(CARDS, {Path(LONG): 12_345.6})],
    "bench, side by side": lambda _: [bench_table(BENCHED[:n]) for n in (0, 1, 2, 3)],
    "bench": lambda _: [bench_table(BENCHED)],
    "bench --on": lambda _: [
        bench_table([replace(each, machine="pi@raspberrypi.local") for each in some])
        for some in (BENCHED[:2], BENCHED)
    ],
    "bench --emulate": lambda _: [
        instructions_table(read_instructions(DOCS / "costs" / "cifar10-arm.json"))
    ],
    "anatomy": lambda _: [
        anatomy_table(anatomy(ROOT / path)) for path in (LONG, f"{FOLDER}/int8.onnx")
    ],
    "golf": lambda tmp_path: [golfed(tmp_path)],
    "footprint": lambda _: footprint_tables(from_file(DOCS / "footprint.json", Footprint)),
    "sweep": lambda _: [
        table
        for path in sorted((DOCS / "sweeps").glob("*.json"))
        for table in sweep_tables(from_json(path.read_bytes(), SweepResults))
    ],
    "ablate": lambda _: [
        ablation_table(from_json(path.read_bytes(), AblationResults))
        for path in sorted((DOCS / "ablations").glob("*.json"))
    ],
    "deploy": lambda _: [deployed_table(RELEASE)],
    "deploy --status": lambda _: [
        releases_table(Status(device(), (RELEASE, replace(RELEASE, release=13)), 13))
    ],
}  # fmt: skip


def shown(tables: Sequence[Table], width: int) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(*tables, end="")
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", TABLES)
def test_every_table_fits_and_cuts_and_breaks_nothing(name: str, tmp_path: Path) -> None:
    tables = TABLES[name](tmp_path)
    for width in (80, 120, 200):
        text = shown(tables, width)
        assert max(map(len, text.splitlines()), default=0) <= width
        assert "…" not in text
        words = set(text.replace(",", " ").split())
        for table in tables:
            for cell in (
                table.title,
                table.caption,
                *table.header[table.headings :],
                *sum(table.rows, ()),
            ):
                # Only a path that is wider than the terminal may break.
                whole = [word for word in cell.replace(",", " ").split() if len(word) <= width - 2]
                missing = set(whole if table.rows else ()) - words
                assert not missing, (width, cell)


@pytest.mark.parametrize("name", ["bench", "models", "bench --emulate"])
def test_a_folder_or_net_of_many_files_is_printed_once(name: str, tmp_path: Path) -> None:
    (table,) = TABLES[name](tmp_path)
    text = shown([table], 200)
    for heading in {row[0] for row in table.rows}:
        assert text.splitlines().count(heading) == 1


SMALL = Table(
    ("net", "file", "bytes", "accuracy"),
    (("a", "x.onnx", "1,000", "99.00%"), ("a", "y.onnx", "9 *", "–"), ("b", "z.onnx", "", "1%")),
    labels=2, title="Title", caption="* the best",
)  # fmt: skip


def test_labels_that_repeat_are_headings_and_figures_stand_right() -> None:
    assert shown([SMALL], 80).splitlines() == [
        "Title",
        "net",
        "  file    bytes  accuracy",
        "  ───────────────────────",
        "a",
        "  x.onnx  1,000    99.00%",
        "  y.onnx    9 *         –",
        "b",
        "  z.onnx               1%",
        "* the best",
        "",
    ]


def test_what_does_not_fit_stands_in_a_second_table() -> None:
    assert shown([SMALL], 18).splitlines()[:9] == [
        "Title",
        "net, file",
        "  bytes  accuracy",
        "  ───────────────",
        "a, x.onnx",
        "  1,000    99.00%",
        "a, y.onnx",
        "    9 *         –",
        "b, z.onnx",
    ]
    narrow = shown([replace(SMALL, rows=SMALL.rows[:1])], 12).splitlines()
    assert narrow == [
        "Title",
        *("net, file", "  bytes", "  ─────", "a, x.onnx", "  1,000"),
        *("net, file", "  accuracy", "  ────────", "a, x.onnx", "    99.00%"),
        "* the best",
        "",
    ]


def test_markdown_has_every_label_in_every_row() -> None:
    assert SMALL.markdown().splitlines()[:3] == [
        "| net | file | bytes | accuracy |",
        "| --- | --- | ---: | ---: |",
        "| a | x.onnx | 1,000 | 99.00% |",
    ]


def test_an_empty_table_without_a_title_prints_nothing() -> None:
    assert shown([Table(("net", "bytes"), ())], 80) == ""


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three", ["one two", "three"]),
        ("models/mnist/net", ["models/", "mnist/net"]),
        ("abcdefghijkl", ["abcdefghi", "jkl"]),
        ("数字数字数字", ["数字数字", "数字"]),
        ("a\nb", ["a", "b"]),
        ("\x1b[31mred", ["?[31mred"]),
        ("", [""]),
    ],
)
def test_wrapping_breaks_words_only_where_it_must(text: str, lines: list[str]) -> None:
    assert wrap(text, 9) == lines
