"""C as a runtime: the reference kernels' outputs, through the interface of all runtimes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgegolf.errors import EdgegolfError
from edgegolf.export import c_library as library
from edgegolf.runtimes import installed_runtimes, open_session
from edgegolf.runtimes.registry import runtimes_for

MNIST = Path(__file__).parents[2] / "models" / "mnist"
NET = MNIST / "double_cnn-2" / "int8-smallest.tflite"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "edgegolf" / "c"


def test_outputs_are_those_of_the_reference_kernels(cache: Path) -> None:
    generator = np.random.default_rng(0)
    with open_session(NET, "c") as session, open_session(NET, "litert-reference") as reference:
        assert session.inputs[0].scale == pytest.approx(reference.inputs[0].scale)
        assert session.inputs[0].zero_point == reference.inputs[0].zero_point
        for _ in range(20):
            x = generator.integers(-128, 128, (1, 28, 28, 1), np.int8)
            np.testing.assert_array_equal(session.run([x])[0], reference.run([x])[0])
    assert len(list(cache.glob("*.so"))) == 1


def test_a_run_changes_no_input_and_no_other_session() -> None:
    black, white = (np.full((1, 28, 28, 1), value, np.int8) for value in (-128, 127))
    with open_session(NET, "c") as one, open_session(NET, "c") as other:
        (first,) = one.run([black])
        (second,) = other.run([white])
        assert (first != second).any()
        one.invoke()
        np.testing.assert_array_equal(one.get_outputs()[0], first)
        np.testing.assert_array_equal(other.get_outputs()[0], second)


def test_what_was_compiled_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    open_session(NET, "c").close()
    monkeypatch.setattr(library, "build", None)
    open_session(NET, "c").close()


def test_it_is_used_where_it_is_named_only() -> None:
    assert "c" in runtimes_for(NET)
    assert "c" not in installed_runtimes(NET)


@pytest.mark.parametrize(
    ("name", "threads", "message"),
    [("float32.tflite", 1, "C cannot have a tensor of float32"), (NET.name, 2, "one thread")],
)
def test_what_c_refuses(name: str, threads: int, message: str) -> None:
    with pytest.raises(EdgegolfError, match=message):
        open_session(NET.with_name(name), "c", threads=threads)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.tflite"
    path.write_bytes(NET.read_bytes()[:900])
    with pytest.raises(EdgegolfError, match=r"damaged\.tflite"):
        open_session(path, "c")


def test_an_input_of_another_type_is_refused() -> None:
    with open_session(NET, "c") as session, pytest.raises(EdgegolfError, match="refuses its inp"):
        session.set_inputs([np.zeros((1, 28, 28, 1), np.float32)])


def test_without_a_compiler_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    library.command.cache_clear()
    with pytest.raises(EdgegolfError, match="needs a C compiler") as caught:
        open_session(NET, "c")
    assert caught.value.hint == "apt install gcc libc6-dev"
    library.command.cache_clear()
