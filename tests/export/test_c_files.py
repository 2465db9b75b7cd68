"""`edgegolf c`: what it writes, what it refuses, and that it then writes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ir_nets import pixels, uneven_net

from edgegolf.backends import onnx
from edgegolf.backends.c import compiling
from edgegolf.cli import cli
from edgegolf.errors import EdgegolfError
from edgegolf.export.c_files import CResult, write_c
from edgegolf.quantize.calibration import Scheme, calibrate, ranges
from edgegolf.quantize.quantization import Quantization, quantized
from edgegolf.records import from_json

MNIST = Path(__file__).parents[2] / "models" / "mnist"
NET = MNIST / "pooled_linear" / "int8.tflite"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


def test_a_file_becomes_two_that_were_compared(tmp_path: Path) -> None:
    output = tmp_path / "7 Digits.c"
    arguments = ["c", str(NET), "-o", str(output), "--check", "--selftest", "--json"]
    said = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert said.exit_code == 0
    result = from_json(said.stdout, CResult)
    assert result.compared is not None
    assert result.compared[0] == 1000
    assert result.footprint.arena_bytes == 788
    assert {path.name for path in tmp_path.iterdir()} == {"7 Digits.c", "net_7_digits.h"}
    header = (tmp_path / "net_7_digits.h").read_text()
    assert "#define NET_7_DIGITS_INPUT_SIZE 784\n" in header
    assert "int net_7_digits_selftest(void);" in header


def test_an_onnx_file_in_integers(tmp_path: Path) -> None:
    net = uneven_net()
    found = calibrate(net, ranges(net, [pixels(net, 20)]), Scheme("leaky", "own", "tensor"))
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx.write(quantized(net, Quantization(found.activations, found.weights))))
    result = write_c(path, tmp_path / "net.c", check=True, optimize="ram")
    assert result.compared == (1000, 0)


@pytest.mark.parametrize(
    ("name", "fits", "message"),
    [
        ("pooled_linear/float32.tflite", None, "a tensor of float32"),
        ("pooled_linear/int8.onnx", None, "a tensor of float32"),
        ("nothing.tflite", None, "does not exist"),
        ("pooled_linear/int8.tflite", "uno", "there is no device 'uno'"),
    ],
)
def test_what_is_refused(name: str, fits: str | None, message: str, tmp_path: Path) -> None:
    with pytest.raises(EdgegolfError, match=message):
        write_c(MNIST / name, tmp_path / "net.c", fits)
    assert not list(tmp_path.iterdir())


def test_a_net_that_does_not_fit_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = compiling.Device("tiny", 500, 2000, ("gcc",), "gcc")
    monkeypatch.setitem(compiling.DEVICES, "tiny", here)
    with pytest.raises(EdgegolfError, match=r"does not fit tiny: .* of 500 bytes of flash"):
        write_c(NET, tmp_path / "net.c", "tiny")
    large = compiling.Device("large", 50_000, 20_000, ("gcc",), "gcc")
    monkeypatch.setitem(compiling.DEVICES, "large", large)
    result = write_c(NET, tmp_path / "net.c", "large")
    assert result.ram_left == 20_000 - result.footprint.ram_bytes


def test_a_compiler_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for check, fits in ((True, None), (False, "atmega328p")):
        with pytest.raises(EdgegolfError, match=r"compiler here|avr-gcc is not installed"):
            write_c(NET, tmp_path / "net.c", fits, check)
    assert not list(tmp_path.iterdir())
    result = write_c(NET, tmp_path / "net.c")
    assert (result.footprint.code_bytes, result.footprint.arena_bytes) == (None, 788)


def test_where_the_source_cannot_be_written_no_header_stays(tmp_path: Path) -> None:
    (tmp_path / "net.c").mkdir()
    with pytest.raises(EdgegolfError, match="is a folder"):
        write_c(NET, tmp_path / "net.c")
    assert [path.name for path in tmp_path.iterdir()] == ["net.c"]


@pytest.mark.parametrize("way", [{"fits": "rp2040"}, {"project": "arduino"}])
def test_a_microcontroller_is_given_no_vectors_of_a_computer(
    tmp_path: Path, way: dict[str, Any]
) -> None:
    with pytest.raises(EdgegolfError, match="cannot run what is written for x86"):
        write_c(NET, tmp_path / ("net" if "project" in way else "net.c"), target="x86", **way)
    assert list(tmp_path.iterdir()) == []
