from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")
import keras
from export_nets import normalized, tight_resnet, two_in_two_out
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers

from edgegolf.errors import EdgegolfError
from edgegolf.export.bounds import MAXIMUM_ENTRIES
from edgegolf.export.model import for_inference, load_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    normalized().save(path)
    return path.read_bytes()


def archive(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name.replace("_", "."), content)
    return path


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\0" * 1000, "damaged or not a Keras model"),
        (b"PK\x03\x04" + b"\xff" * 500, "damaged or not a Keras model"),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path, content, says):
    path = tmp_path / "x.keras"
    path.write_bytes(content)
    with pytest.raises(EdgegolfError, match=says):
        load_model(path)


def test_a_missing_file_and_another_suffix_are_refused(tmp_path):
    with pytest.raises(EdgegolfError, match="does not exist"):
        load_model(tmp_path / "none.keras")
    (tmp_path / "x.pt").write_bytes(b"x")
    with pytest.raises(EdgegolfError, match=r"not a \.keras file"):
        load_model(tmp_path / "x.pt")


def test_foreign_archives_are_refused(tmp_path):
    with pytest.raises(EdgegolfError, match=r"without config\.json"):
        load_model(archive(tmp_path / "a.keras", readme_txt=b"hello"))
    with pytest.raises(EdgegolfError, match="damaged or not"):
        load_model(archive(tmp_path / "b.keras", config_json=b"{"))
    with pytest.raises(EdgegolfError, match="damaged or not"):
        load_model(archive(tmp_path / "c.keras", config_json=b"[" * 100_000))
    with pytest.raises(EdgegolfError, match="cannot be loaded"):
        load_model(archive(tmp_path / "d.keras", config_json=b"{}"))


def test_zip_bombs_are_refused_before_they_unpack(tmp_path):
    with pytest.raises(EdgegolfError, match="too large"):
        load_model(archive(tmp_path / "a.keras", config_json=b" " * (65 * 2**20)))
    with zipfile.ZipFile(tmp_path / "b.keras", "w") as file:
        for number in range(MAXIMUM_ENTRIES + 1):
            file.writestr(str(number), b"")
    with pytest.raises(EdgegolfError, match="zip bomb"):
        load_model(tmp_path / "b.keras")


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_archives_give_one_error_or_a_model(tmp_path, saved, data):
    content = bytearray(saved)
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.keras"
    path.write_bytes(bytes(content))
    with suppress(EdgegolfError):  # and no other error
        assert load_model(path).inputs


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_no_damaged_byte_gives_another_error(tmp_path, compression):
    path = tmp_path / "damaged.keras"
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("config.json", b'{"class_name": "Sequential"}')
    sound = path.read_bytes()
    for position in range(len(sound)):
        for value in (0x00, 0x57, 0xFF, sound[position] ^ 1, sound[position] ^ 8):
            path.write_bytes(sound[:position] + bytes([value]) + sound[position + 1 :])
            with pytest.raises(EdgegolfError):
                load_model(path)


def test_lambda_layers_are_refused_by_name_and_never_run(tmp_path):
    image = keras.Input((4,))
    inner = keras.Model(image, layers.Lambda(lambda x: x * 2, name="double")(image))
    outer = keras.Sequential([keras.Input((4,)), inner])
    for model in (inner, outer):
        model.save(tmp_path / "x.keras")
        with pytest.raises(EdgegolfError, match="Lambda layer 'double'"):
            load_model(tmp_path / "x.keras")


def test_a_layer_that_keeps_its_state_is_refused_by_name(tmp_path):
    series = keras.Input(batch_shape=(1, 5, 3))
    hidden = layers.GRU(2, stateful=True, name="memory")(series)
    keras.Model(series, hidden).save(tmp_path / "x.keras")
    with pytest.raises(EdgegolfError, match="layer 'memory', which keeps its state"):
        load_model(tmp_path / "x.keras")


def test_layers_of_strangers_are_refused(tmp_path, saved):
    (tmp_path / "good.keras").write_bytes(saved)
    with zipfile.ZipFile(tmp_path / "good.keras") as file:
        entries = {name: file.read(name) for name in file.namelist()}
    config = json.loads(entries["config.json"])
    config["config"]["layers"][1] |= {"class_name": "Unheard", "module": "stranger"}
    entries["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as file:
        for name, content in entries.items():
            file.writestr(name, content)
    with pytest.raises(EdgegolfError, match="Unheard"):
        load_model(tmp_path / "x.keras")


def test_another_backend_is_named():
    code = (
        "from edgegolf.export.model import import_keras_on_tensorflow as f\n"
        "from edgegolf.errors import EdgegolfError\n"
        "try: f()\n"
        "except EdgegolfError as e: print(e, e.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "export needs Keras on TensorFlow" in done.stdout
    assert "KERAS_BACKEND=tensorflow" in done.stdout


@pytest.mark.parametrize("batch", [1, 4, None])
@pytest.mark.parametrize("build", [tight_resnet, normalized, two_in_two_out])
def test_the_rebuilt_model_computes_the_same(build, batch):
    model = build()
    rebuilt = for_inference(model, batch)
    assert [tensor.shape[0] for tensor in rebuilt.inputs] == [batch] * len(model.inputs)
    assert not any(isinstance(layer, layers.Dropout) for layer in rebuilt.layers)
    generator = np.random.default_rng(0)
    inputs = [
        generator.random((batch or 3, *tensor.shape[1:]), np.float32) for tensor in model.inputs
    ]
    expected = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    found = rebuilt(inputs, training=False)
    pairs = zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_shared_layers_stay_one_layer():
    model = tight_resnet()
    rebuilt = for_inference(model, 1)
    assert rebuilt.count_params() == 1_930
    assert sum(layer.name == "shared" for layer in rebuilt.layers) == 1


def test_an_open_dimension_is_refused():
    image = keras.Input((None, None, 1), name="image")
    with pytest.raises(EdgegolfError, match=r"'image' has the open shape \(None, None, None, 1\)"):
        for_inference(keras.Model(image, layers.GlobalAveragePooling2D()(image)), 1)
