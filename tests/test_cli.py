"""The command line as a user meets it: in a process of its own, where that matters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgegolf.cards import read_card
from edgegolf.cli import Output, cli, main
from edgegolf.errors import EdgegolfError

BAD_INPUT = 2
VERBS = (
    "zoo", "train", "export", "bench", "anatomy", "golf", "footprint", "report", "classify", "demo",
)  # fmt: skip


def edgegolf(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgegolf", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The same in this process and the test's folder, for what no process of its own changes."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["edgegolf", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), *said)

    return call


def is_clear_error(done: subprocess.CompletedProcess[str], *words: str) -> bool:
    """One line that says what is wrong, the rest of standard error nothing but hints."""
    return (
        done.returncode == BAD_INPUT
        and "Traceback" not in done.stderr
        and "rror: " in done.stderr
        and all(word in done.stderr for word in words)
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ONNX file: 4 numbers times a matrix."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 3], np.arange(12) / 12)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "a_graph_with_a_name",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [weights],
    )
    path = tmp_path_factory.mktemp("models") / "model.onnx"
    opset = [helper.make_opsetid("", 13)]
    onnx.save(
        helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="test"), path
    )
    return path


def test_help_loads_no_heavy_package(tmp_path: Path) -> None:
    script = (
        "import sys; sys.argv = ['edgegolf', '--help']\n"
        "from edgegolf.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'rich', 'tensorflow', 'keras', 'onnx', 'onnxruntime', 'cattrs'}\n"
        "print('loaded', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "loaded []" in done.stdout
    assert "..." not in done.stdout.partition("Commands:")[2]


@pytest.mark.parametrize("verb", cli.commands)
def test_every_verb_shows_examples(verb: str) -> None:
    shown = cli.commands[verb].get_help(click.Context(cli.commands[verb], terminal_width=80))
    assert f"  edgegolf {verb}" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_make_fits_80_columns() -> None:
    shown = subprocess.run(
        ["make", "help"], cwd=Path(__file__).parent.parent, capture_output=True, text=True
    ).stdout
    assert max(map(len, shown.splitlines())) <= 80


def test_zoo_lists_and_shows(here: Callable[..., Any]) -> None:
    pytest.importorskip("tensorflow")
    listed = here("zoo")
    assert "tight_resnet" in listed.stdout
    assert "1,930" in listed.stdout
    shown = here("zoo", "tight_resnet")
    assert "8 times, shared" in shown.stdout
    assert "740,960" in shown.stdout


def test_bench_prints_the_documented_json(model: Path) -> None:
    done = edgegolf("bench", str(model), "--min-time", "0.1", "--json", cwd=model.parent)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert result["schema"] == "edgegolf.bench/1"
    assert result["size_bytes"] == model.stat().st_size
    assert result["parameters"] == 12
    assert result["macs"] == 12
    assert result["memory"]["weights_bytes"] == 48
    latency = result["latency_us"]
    assert 0 < latency["minimum"] <= latency["p50"] <= latency["p90"] <= latency["p99"]


def test_bench_is_a_gate(model: Path, here: Callable[..., Any]) -> None:
    small = here("bench", str(model), "--min-time", "0.1", "--max-size", "10")
    assert small.returncode == 1
    assert "size" in small.stderr
    fine = here("bench", str(model), "--min-time", "0.1", "--max-size", "9999")
    assert fine.returncode == 0, fine.stderr


def test_bench_compares_with_a_baseline(
    model: Path, tmp_path: Path, here: Callable[..., Any]
) -> None:
    before = tmp_path / "before.json"
    command = ("bench", str(model), "--min-time", "0.1")
    here(*command, "--json", "--output", str(before))
    results = json.loads(before.read_text())
    results[0]["size_bytes"] //= 2
    before.write_text(json.dumps(results))
    done = here(*command, "--baseline", str(before))
    assert done.returncode == 1
    assert "above the baseline" in done.stderr


def test_golf_and_anatomy_of_a_file(model: Path, tmp_path: Path, here: Callable[..., Any]) -> None:
    golfed = here("golf", str(model), "-o", "small.onnx", "--json")
    assert golfed.returncode == 0, golfed.stderr
    result = json.loads(golfed.stdout)
    assert result["bytes_after"] == (tmp_path / "small.onnx").stat().st_size
    assert result["bytes_after"] < result["bytes_before"]
    dissected = here("anatomy", "small.onnx", "--json")
    parts = json.loads(dissected.stdout)["parts"]
    assert sum(part["bytes"] for part in parts) == result["bytes_after"]


@pytest.mark.parametrize("verb", ["bench", "anatomy", "golf"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.tflite", None),
        ("empty.tflite", b""),
        ("random.tflite", bytes(range(256)) * 8),
        ("truncated.tflite", b"\x1c\x00\x00\x00TFL3\x14\x00 \x00"),
        ("empty.onnx", b""),
        ("random.onnx", bytes(range(256)) * 8),
        ("model.txt", b"text"),
    ],
)
def test_bad_files_are_one_clear_error(
    verb: str, name: str, content: bytes | None, tmp_path: Path, here: Callable[..., Any]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = set(tmp_path.iterdir())
    done = here(verb, name)
    assert is_clear_error(done, name), done.stderr
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("train", "nonsense"), "nonsense"),
        (("train", "cnn"), "size"),
        (("train", "linear", "--dataset", "nowhere"), "nowhere"),
        (("train", "linear", "--epochs", "0"), "--epochs"),
        (("train", "linear", "tight_resnet", "--out", "x"), "--out"),
        (("export", "linear", "--dataset", "digits"), "linear"),
        (("export", "missing.keras", "--dataset", "digits"), "missing.keras"),
        (("export", "--dataset", "digits", "--max-drop", "much"), "much"),
        (("bench", "nonsense"), "nonsense"),
        (("bench", "model.onnx", "--threads", "two"), "two"),
        (("bench", "model.onnx", "--runtime", "litert"), "litert"),
        (("bench", "model.onnx", "--runtime", "nonsense"), "nonsense"),
        (("bench", "model.onnx", "--baseline", "missing.json"), "missing.json"),
        (("bench", "model.onnx", "--provider", "nonsense"), "nonsense"),
        (("bench", "model.onnx", "--port", "22"), "--on"),
        (("bench", "model.onnx", "--emulate", "aarch64", "--key", "key"), "--key"),
        (("bench", "model.onnx", "--on", "pi:22", "--port", "23"), "two ports"),
        (("nonsense",), "nonsense"),
    ],
    ids=" ".join,
)
def test_bad_arguments_are_one_clear_error(
    arguments: tuple[str, ...], word: str, model: Path, tmp_path: Path, here: Callable[..., Any]
) -> None:
    (tmp_path / "model.onnx").write_bytes(model.read_bytes())
    done = here(*arguments)
    assert is_clear_error(done, word), (done.returncode, done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("zoo", "tight_resent"), "tight_resnet"),
        (("train", "Linear"), "linear"),
        (("train", "cnn2", "--dataset", "digits"), "cnn:2"),
        (("train", "linear", "--dataset", "minst"), "mnist"),
        (("export", "duoble_cnn:2"), "double_cnn:2"),
        (("bench", "tight_resnt"), "tight_resnet"),
        (("bench", "cnn_2"), "cnn:2"),
        (("bench", "model.onnx", "--runtime", "onxruntime"), "onnxruntime"),
        (("bench", "model.onnx", "--provider", "cdua"), "cuda"),
        (("sweep", "duoble_cnn"), "double_cnn"),
        (("ablate", "tencn"), "tencnn"),
        (("footprint", "tight_resenet"), "tight_resnet"),
        (("deploy", "pi@nowhere.invalid", "tight_resne"), "tight_resnet"),
        (("demo", "tight_resne"), "tight_resnet"),
        (("benhc", "model.onnx"), "bench"),
        (("golf", "modle.onnx"), "model.onnx"),
        (("bench", "models/mnst/cnn-2/int8.onnx"), "models/mnist/cnn-2/int8.onnx"),
        (("anatomy", "model.onnx", "models/mnist/cnn:2/int8.onnx"), "models/mnist/cnn-2/int8.onnx"),
    ],
    ids=" ".join,
)
def test_a_mistyped_name_gets_a_suggestion(
    arguments: tuple[str, ...], meant: str, model: Path, tmp_path: Path, here: Callable[..., Any]
) -> None:
    (tmp_path / "model.onnx").write_bytes(model.read_bytes())
    for net in ("tight_resnet", "cnn-2"):
        (tmp_path / "models" / "mnist" / net).mkdir(parents=True)
        (tmp_path / "models" / "mnist" / net / "int8.onnx").write_bytes(model.read_bytes())
    done = here(*arguments)
    assert is_clear_error(done, f"did you mean {meant!r}?"), done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    "verb", ["anatomy", "show", "golf", "c", "circuit", "compare", "classify", "run", "report"]
)
def test_a_net_where_a_file_is_asked_for_has_its_files_told(
    verb: str, model: Path, tmp_path: Path, here: Callable[..., Any]
) -> None:
    folder = tmp_path / "models" / "mnist" / "cnn-2"
    folder.mkdir(parents=True)
    (folder / "int8.onnx").write_bytes(model.read_bytes())
    for net in ("cnn-2", "cn:2"):
        done = here(verb, net, *(("x",) if verb == "compare" else ()))
        assert is_clear_error(done, "a file of 'cnn:2'? there are models/mnist/cnn-2/int8.onnx")
    for folder_itself in (".", "/") if verb != "report" else ():
        done = here(verb, *((folder_itself,) * (1 + (verb == "compare"))))
        assert is_clear_error(done, ""), done.stderr


def test_reading_a_store_that_is_not_there_makes_none(
    tmp_path: Path, here: Callable[..., Any]
) -> None:
    pytest.importorskip("sqlalchemy")
    sweep = ("sweep", "double_cnn", "--dataset", "digits", "--store", "new/store.sqlite")
    assert is_clear_error(here(*sweep, "--resume"), "has no run of the sweep double_cnn")
    assert "0 of 18 runs" in here(*sweep, "--table").stdout
    assert not list(tmp_path.iterdir())


def test_an_empty_table_is_not_printed_above_an_error(
    tmp_path: Path, here: Callable[..., Any]
) -> None:
    (tmp_path / "random.tflite").write_bytes(bytes(range(256)))
    done = here("bench", "random.tflite")
    assert is_clear_error(done, "random.tflite")
    assert not done.stdout


def test_output_says_what_it_wrote(model: Path, tmp_path: Path, here: Callable[..., Any]) -> None:
    command = ("bench", str(model), "--min-time", "0.1", "-o", "found.txt")
    for option, said in (((), "JSON"), (("--markdown",), "Markdown"), (("--csv",), "CSV")):
        done = here(*command, *option)
        size = (tmp_path / "found.txt").stat().st_size
        assert f"found.txt: {said}, {size:,} bytes" in done.stderr
        assert not done.stdout


def test_every_output_is_also_called_o() -> None:
    for verb, command in cli.commands.items():
        for option in command.params:
            if "--output" in option.opts:
                assert "-o" in option.opts, verb


def test_where_to_write_is_looked_at_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    written = {"--output", "--picture", "--figures", "--junit"}
    kinds = [o.type for each in cli.commands.values() for o in each.params if written & {*o.opts}]
    assert len(kinds) > 10
    for kind in kinds:
        assert isinstance(kind, Output)
        wrong = str(tmp_path / "file" / f"x{[*kind.suffixes, ''][0]}")
        with pytest.raises(EdgegolfError, match="cannot be written"):
            kind.convert(wrong, None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_a_file_is_one_clear_error(
    model: Path, tmp_path: Path, here: Callable[..., Any]
) -> None:
    (tmp_path / "file").write_text("")
    done = here("golf", str(model), "-o", "file/small.onnx")
    assert is_clear_error(done, "cannot be written")


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one page, which a directory and its first byte fill."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("file systems can be mounted by root only")
    (folder / "full").write_bytes(b"x" * 4096)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(model: Path, full_disk: Path) -> None:
    done = edgegolf("golf", str(model), "-o", str(full_disk / "small.onnx"), cwd=full_disk)
    assert is_clear_error(done, "No space left on device"), done.stderr
    assert [path.name for path in full_disk.iterdir()] == ["full"]


@pytest.mark.long
def test_from_scratch_to_bench_on_the_embedded_digits(tmp_path: Path) -> None:
    """The main job: train, export, bench, and again without doing anything twice."""
    pytest.importorskip("tensorflow")
    trained = edgegolf("train", "linear", "--dataset", "digits", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "digits" in trained.stderr
    exported = edgegolf("export", "--dataset", "digits", "--quick", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    folder = tmp_path / "models" / "digits" / "linear"
    names = ("float32.onnx", "float32.tflite", "int8.onnx", "int8.tflite")
    card = read_card(folder)
    assert card is not None
    assert {*names} <= {*card.files}
    for name in names:
        assert name in exported.stdout
        assert card.files[name].size_bytes == (folder / name).stat().st_size
        assert card.files[name].test_accuracy > 0.8  # chance is .1
    stamps = {name: (folder / name).stat().st_mtime_ns for name in names}
    again = edgegolf("export", "linear", "--dataset", "digits", "--quick", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert stamps == {name: (folder / name).stat().st_mtime_ns for name in names}
    file = "models/digits/linear/int8.tflite"
    benched = edgegolf("bench", file, "--min-time", "0.1", "--json", cwd=tmp_path)
    (result,) = json.loads(benched.stdout)
    assert result["accuracy"] == pytest.approx(card.files["int8.tflite"].test_accuracy)
    wrong = edgegolf("export", "linear", "--dataset", "mnist", cwd=tmp_path, EDGEGOLF_DATA="x")
    assert wrong.returncode == BAD_INPUT


def test_ctrl_c_ends_with_130_and_a_usable_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    command = [sys.executable, "-m", "edgegolf", "train", "tight_resnet", "--dataset", "digits"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background inherits that Ctrl-C is ignored; a user's shell does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    runs = tmp_path / "models/digits/tight_resnet/.training/seed-0/run.json"
    deadline = time.monotonic() + 200
    while not runs.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert json.loads(runs.read_text())["epochs"]
