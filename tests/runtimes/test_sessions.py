from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import small_models as models

from edgegolf.errors import EdgegolfError
from edgegolf.runtimes import RUNTIMES, installed_runtimes, open_session
from edgegolf.runtimes.child import run_in_child

WEIGHTS = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
TFLITE = [name for name, runtime in RUNTIMES.items() if runtime.suffix == ".tflite"]


@pytest.fixture(params=TFLITE)
def tflite(request, tmp_path):
    """The name of each TFLite runtime that is installed."""
    pytest.importorskip("ai_edge_litert")  # it writes the test models
    if request.param not in installed_runtimes(tmp_path / "any.tflite"):
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture
def onnx():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("threads", [1, 2])
def test_tflite_computes_what_numpy_does(tflite, tmp_path, threads):
    path = models.tflite_dense(tmp_path / "dense.tflite", WEIGHTS)
    x = np.random.default_rng(1).normal(size=(1, 7)).astype(np.float32)
    with open_session(path, tflite, threads=threads) as session:
        assert (session.runtime, session.provider, session.threads) == (tflite, "cpu", threads)
        assert str(session.inputs[0]) == "x float32[1,7]"
        (y,) = session.run([x])
    np.testing.assert_allclose(y, x @ WEIGHTS.T, rtol=1e-5)


@pytest.mark.usefixtures("onnx")
@pytest.mark.parametrize("threads", [1, 2])
def test_onnx_computes_what_numpy_does(tmp_path, threads):
    path = models.onnx_dense(tmp_path / "dense.onnx", WEIGHTS.T)
    x = np.random.default_rng(1).normal(size=(1, 7)).astype(np.float32)
    with open_session(path, threads=threads) as session:
        (y,) = session.run([x])
    np.testing.assert_allclose(y, x @ WEIGHTS.T, rtol=1e-5)


def test_inputs_are_copied(tflite, tmp_path):
    path = models.tflite_dense(tmp_path / "dense.tflite", np.eye(3))
    _changing_the_array_changes_nothing(path, tflite)


@pytest.mark.usefixtures("onnx")
def test_onnx_inputs_are_copied(tmp_path):
    path = models.onnx_dense(tmp_path / "dense.onnx", np.eye(3))
    _changing_the_array_changes_nothing(path, "onnxruntime")


def _changing_the_array_changes_nothing(path, runtime):
    with open_session(path, runtime) as session:
        x = np.ones((1, 3), np.float32)
        session.set_inputs([x])
        x[:] = 2
        session.invoke()
        assert session.get_outputs()[0].tolist() == [[1, 1, 1]]


def test_open_dimensions_take_any_size(tflite, tmp_path):
    path = models.tflite_dense(tmp_path / "open.tflite", np.eye(3), open=True)
    with open_session(path, tflite) as session:
        assert session.inputs[0].shape == (None, 3)
        for batch in (4, 1, 2):
            x = np.random.default_rng(batch).random((batch, 3), np.float32)
            np.testing.assert_array_equal(session.run([x])[0], x)


def test_quantization_is_told(tflite, tmp_path):
    path = models.tflite_int8_identity(tmp_path / "int8.tflite", (2, 2, 1))
    with open_session(path, tflite) as session:
        (info,) = session.inputs
    assert info.dtype == "int8"
    assert info.scale == pytest.approx([1 / 255])
    assert info.zero_point == (-128,)


def test_several_inputs_and_graphs(tflite, tmp_path):
    path = models.tflite_two_inputs(tmp_path / "add.tflite")
    with open_session(path, tflite) as session:
        x, y = np.float32([[1, 2, 3]]), np.float32([[10, 20, 30]])
        assert session.run([x, y])[0].tolist() == [[11, 22, 33]]
        with pytest.raises(EdgegolfError, match="takes 2 inputs, not 1"):
            session.run([x])


def test_wrong_inputs_are_refused(tflite, tmp_path):
    path = models.tflite_dense(tmp_path / "dense.tflite", np.eye(3))
    with open_session(path, tflite) as session:
        with pytest.raises(EdgegolfError, match=r"dense\.tflite refuses its inputs"):
            session.run([np.zeros((1, 3), np.int8)])
        with pytest.raises(EdgegolfError, match=r"dense\.tflite refuses its inputs"):
            session.run([np.zeros((1, 4), np.float32)])


@pytest.mark.usefixtures("onnx")
def test_onnx_float16_and_open_dimensions(tmp_path):
    path = models.onnx_dense(tmp_path / "half.onnx", np.eye(3), batch="n", kind="FLOAT16")
    with open_session(path) as session:
        assert str(session.inputs[0]) == "x float16[?,3]"
        x = np.ones((2, 3), np.float16)
        np.testing.assert_array_equal(session.run([x])[0], x)
        with pytest.raises(EdgegolfError, match="onnxruntime"):
            session.run([x.astype(np.float32)])


def test_missing_operators_are_named(tflite, tmp_path):
    path = models.tflite_custom_operator(tmp_path / "custom.tflite")
    with pytest.raises(EdgegolfError, match="operator NobodyHasThis"):
        open_session(path, tflite)


def test_missing_operator_versions_are_named(tflite, tmp_path):
    path = models.tflite_future_version(tmp_path / "future.tflite")
    with pytest.raises(EdgegolfError, match="operator FULLY_CONNECTED version 99"):
        open_session(path, tflite)


@pytest.mark.usefixtures("onnx")
@pytest.mark.parametrize(
    ("node", "name"),
    [
        (("NobodyHasThis", ["x"], ["y"]), "NobodyHasThis"),
        (("NobodyHasThis", ["x"], ["y"], {"domain": "com.example"}), "com.example:NobodyHasThis"),
    ],
)
def test_missing_onnx_operators_are_named(tmp_path, node, name):
    value = ("FLOAT", [1])
    path = models.onnx_model(tmp_path / "odd.onnx", [node], {"x": value}, {"y": value})
    with pytest.raises(EdgegolfError, match=f"operator {name}"):
        open_session(path)


@pytest.mark.usefixtures("onnx")
def test_files_of_later_versions_ask_for_a_newer_runtime(tmp_path):
    from onnx import load, save

    path = models.onnx_dense(tmp_path / "later.onnx", np.eye(3))
    model = load(path)
    model.ir_version = 99
    save(model, path)
    with pytest.raises(EdgegolfError, match="IR version: 99") as caught:
        open_session(path, "onnxruntime")
    assert caught.value.hint == "try a newer onnxruntime"


@pytest.mark.usefixtures("onnx")
def test_missing_external_data_is_named(tmp_path):
    path = models.onnx_external(tmp_path / "external.onnx")
    with open_session(path) as session:
        assert session.run([np.ones((1, 64), np.float32)])[0][0, 0] == 64
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(EdgegolfError, match=r"external\.onnx .*missing.*weights\.bin"):
        open_session(path)


@pytest.mark.usefixtures("onnx")
def test_falling_back_to_the_cpu_is_refused(tmp_path):
    import onnxruntime

    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("there is no second provider to try")
    path = models.onnx_dense(tmp_path / "dense.onnx", np.eye(3))
    with pytest.raises(EdgegolfError, match=r"CPU"):  # Azure's provider runs no operator itself
        open_session(path, provider="azure")


@pytest.mark.usefixtures("onnx")
def test_missing_providers_say_what_to_install(tmp_path):
    import onnxruntime

    if "TensorrtExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("the provider is there")
    path = models.onnx_dense(tmp_path / "dense.onnx", np.eye(3))
    with pytest.raises(EdgegolfError, match="no provider 'tensorrt'") as caught:
        open_session(path, provider="tensorrt")
    assert "onnxruntime-gpu" in caught.value.hint


@pytest.mark.usefixtures("onnx")
def test_onnxruntime_leaves_nothing_in_the_users_folders(tmp_path):
    path = models.onnx_dense(tmp_path / "dense.onnx", np.eye(3))
    home = tmp_path / "home"
    home.mkdir()
    script = (
        "import sys, pathlib, edgegolf.runtimes as runtimes\n"
        "runtimes.open_session(pathlib.Path(sys.argv[1])).close()"
    )
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", script, path], env=environment, check=True)
    assert list(home.iterdir()) == []


def test_tflite_has_no_providers(tflite, tmp_path):
    path = models.tflite_dense(tmp_path / "dense.tflite", np.eye(3))
    with pytest.raises(EdgegolfError, match="on the CPU only"):
        open_session(path, tflite, provider="cuda")


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_files_that_are_no_models(tmp_path, suffix):
    missing, empty, folder = (tmp_path / f"{name}{suffix}" for name in ("missing", "empty", "dir"))
    empty.touch()
    folder.mkdir()
    for path, message in [(missing, "not exist"), (empty, "is empty"), (folder, "is a folder")]:
        with pytest.raises(EdgegolfError, match=message):
            open_session(path)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("kind", ["random", "truncated"])
def test_damaged_files_do_not_take_us_down(tmp_path, runtime, kind):
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("onnx")
    path = tmp_path / f"{kind}{RUNTIMES[runtime].suffix}"
    if runtime not in installed_runtimes(path):
        pytest.skip(f"{runtime} is not installed")
    if kind == "random":
        path.write_bytes(np.random.default_rng(0).bytes(3000))
    else:
        write = models.onnx_dense if path.suffix == ".onnx" else models.tflite_dense
        data = write(path, np.ones((50, 50))).read_bytes()
        path.write_bytes(data[: len(data) // 3])
    with pytest.raises(EdgegolfError, match=path.name) as caught:
        run_in_child(open_and_close, path, runtime)
    assert "\n" not in caught.value.message


def open_and_close(path, runtime):
    open_session(path, runtime).close()


def test_unknown_names_are_refused(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"x")
    with pytest.raises(EdgegolfError, match="no runtime 'theano'"):
        open_session(path, "theano")
    with pytest.raises(EdgegolfError, match=r"runs \.onnx files"):
        open_session(path, "onnxruntime")
    with pytest.raises(EdgegolfError, match="0 threads"):
        open_session(path, threads=0)
    with pytest.raises(EdgegolfError, match="is no"):
        installed_runtimes(tmp_path / "model.txt")


@pytest.mark.parametrize("path", models.real_models(), ids=lambda path: path.stem)
def test_runtimes_agree_on_models_of_other_people(path, tflite):
    """With the reference kernels, wherever those are sure of the class."""
    generator = np.random.default_rng(0)
    with open_session(path, tflite) as session, open_session(path, "litert-reference") as reference:
        for _ in range(5):
            x = generator.integers(-128, 128, session.inputs[0].example_shape, np.int8)
            (found,), (expected,) = session.run([x]), reference.run([x])
            second, first = np.sort(expected[0].astype(int))[-2:]
            assert found.argmax() == expected.argmax() or first - second < 64


def test_runtimes_say_nothing_of_themselves(tflite, tmp_path, capfd):
    path = models.tflite_dense(tmp_path / "dense.tflite", np.eye(3))
    with open_session(path, tflite) as session:
        session.run([np.zeros((1, 3), np.float32)])
    assert capfd.readouterr().err == ""
