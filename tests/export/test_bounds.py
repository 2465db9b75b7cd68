"""Small files that ask for much are refused before they get it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")
keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from edgegolf.errors import EdgegolfError  # noqa: E402
from edgegolf.export.bounds import check_arrays, check_config, read_config  # noqa: E402
from edgegolf.export.model import load_model  # noqa: E402

CASES = Path(__file__).parent / "cases"
LIMIT = "allowed for a file of its size"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["dense_5GB.keras", "h5_1_6GB.keras"])
def test_a_few_kilobytes_get_no_gigabytes(name: str) -> None:
    """In a process of its own, which TensorFlow alone takes 600 MB of."""
    code = (
        "import sys; from pathlib import Path; from edgegolf.export.model import load_model\n"
        "from edgegolf.errors import EdgegolfError\n"
        "try: load_model(Path(sys.argv[1]))\n"
        "except EdgegolfError as error: print(error)\n"
        # Not of getrusage, which begins with what the process had before it became this one.
        "status = Path('/proc/self/status').read_text()\n"
        "print(status.split('VmHWM:')[1].split()[0])"
    )
    command = [sys.executable, "-c", code, str(CASES / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    error, kilobytes = done.stdout.splitlines()
    assert LIMIT in error
    assert int(kilobytes) < 1_200_000


def keras_file(path: Path, weights: bytes = b"", config: object = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps(config or {}))
        if weights:
            archive.writestr("model.weights.h5", weights)
    return path


def hdf5(write: Callable[[h5py.File], object]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        write(file)
    return buffer.getvalue()


def nested(file: h5py.Group) -> None:
    for _ in range(300):
        file = file.create_group("g")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((10,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (10,))
    file.create_virtual_dataset("x", layout)


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda file: file.create_dataset("x", (2**20, 2**10), "f4"), LIMIT),
        (lambda file: file.create_dataset("x", (2**30,), "f4", chunks=(2**10,)), LIMIT),
        (
            lambda file: file.create_dataset("x", (9,), "f4", chunks=(2**26,), maxshape=(None,)),
            LIMIT,
        ),
        (lambda file: [file.create_dataset(str(i), (2**20,), "f4") for i in range(30)], LIMIT),
        (virtual, "in another file"),
        (nested, "nested too deep"),
        (lambda file: file.create_dataset("x", (5,), h5py.string_dtype()), "no numbers"),
        (
            lambda file: file.create_dataset("x", (10,), "f4", external=[("raw.bin", 0, 40)]),
            "in another file",
        ),
    ],
)
def test_weights_that_unpack_to_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[..., object], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EdgegolfError, match=says):
        read_config(keras_file(tmp_path / "x.keras", hdf5(write)))


@pytest.mark.parametrize("config", [5, h5py.Empty("S1"), np.array([b"{}", b"{}"]), np.zeros(3)])
def test_a_configuration_that_is_no_text_is_a_damaged_file(tmp_path: Path, config: object) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["model_config"] = config
    with pytest.raises(EdgegolfError, match="damaged or not a Keras model"):
        read_config(tmp_path / "x.h5")


def test_compressed_weights_are_taken_for_what_they_may_unpack_to(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random(2**17)
    for values, is_refused in ((noise, True), (noise[:100], False)):
        path = keras_file(
            tmp_path / "x.keras",
            hdf5(partial(h5py.Group.create_dataset, name="x", data=values, compression="gzip")),
        )
        if is_refused:
            with pytest.raises(EdgegolfError, match=LIMIT):
                read_config(path)
        else:
            read_config(path)


def layer(kind: str, **config: object) -> dict[str, object]:
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}


def sequential(*layers: dict[str, object]) -> dict[str, object]:
    first = layer("InputLayer", batch_shape=[None, 64, 64, 3], dtype="float32", name="in")
    return {
        "module": "keras", "class_name": "Sequential", "registered_name": None,
        "config": {"name": "s", "layers": [first, *layers]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([layer("Dense", units=10**9)], "units = 1,000,000,000"),
        ([layer("Conv2D", filters=10**6, kernel_size=[32, 32])], "weights of"),
        (
            [layer("Flatten"), layer("Dense", units=2_000), layer("Dense", units=2_000_000)],
            "weights of",
        ),
        ([layer("UpSampling2D", size=[4_000, 4_000])], "result has"),
        ([layer("Flatten"), layer("Embedding", input_dim=10**6, output_dim=1_000)], "weights of"),
        (
            [
                layer("Reshape", target_shape=[64, 192]),
                layer("LSTM", units=30_000, return_sequences=True),
            ],
            "weights of",
        ),
        (
            [layer("Reshape", target_shape=[4_096, 3]), layer("LSTM", units=2, unroll=True)],
            "unrolled",
        ),
    ],
)
def test_configurations_that_ask_for_too_much(
    tmp_path: Path, layers: list[dict[str, object]], says: str
) -> None:
    with pytest.raises(EdgegolfError, match=says):
        load_model(keras_file(tmp_path / "x.keras", config=sequential(*layers)))


def test_nested_models_are_counted_as_often_as_they_are_called(tmp_path: Path) -> None:
    model: dict[str, object] = layer("ReLU")
    for _ in range(20):
        inner = {**model, "inbound_nodes": [{"args": []}, {"args": []}]}
        model = {"class_name": "Functional", "config": {"layers": [inner]}}
    with pytest.raises(EdgegolfError, match="calls layers 1,048,576 times"):
        check_config(model, tmp_path)


def test_layers_of_a_sequential_model_are_counted_as_often_as_keras_calls_them(
    tmp_path: Path,
) -> None:
    check_config(sequential(*[layer("ReLU")] * 150), tmp_path)
    with pytest.raises(EdgegolfError, match="calls layers 4,500,000 times"):
        check_config(sequential(*[layer("ReLU")] * 2_999), tmp_path)


def test_headers_of_arrays_that_tell_of_more_than_there_is(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (2**20, 2**14)}
    )
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(64))
    with pytest.raises(ValueError, match="more than it holds"):
        check_arrays(tmp_path / "x.npz")
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros(2**25, np.float32))
    with pytest.raises(EdgegolfError, match="zip bomb"):
        check_arrays(tmp_path / "bomb.npz")
    np.savez_compressed(tmp_path / "fine.npz", x=np.random.default_rng(0).random(1000))
    check_arrays(tmp_path / "fine.npz")
