"""What a `.keras` or `.npz` file would take, from headers and configuration, before it takes it."""

from __future__ import annotations

import json
import lzma
import math
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgegolf.errors import EdgegolfError, require
from edgegolf.files import check_size, worth

MAXIMUM_ENTRIES = 10_000  # a .keras file has three, and one for each asset
MAXIMUM_NESTING = 100  # of groups in an HDF5 file; Keras has three for each model in a model
MAXIMUM_CONFIG_BYTES = 8 * 2**20  # which Python takes twenty times as much to hold
MAXIMUM_LAYERS = 20_000  # calls of layers: of a layer that is used often, and in nested models
MAXIMUM_NUMBER = 2**24  # of units, filters, steps, pixels in a row
MAXIMUM_UNROLLED = 1_000  # steps of a recurrent layer whose graph has a copy for each
DEFLATE = 1_032  # bytes that a byte can unpack to

# What reading an entry of a zip file raises where bytes of it are others, and JSON of it.
DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, OverflowError,
    ValueError, RuntimeError,
)  # fmt: skip

# Integers of configurations that are no sizes.
NO_SIZES = {"seed", "shared_object_id", "random_seed", "oov_token", "mask_value", "vocabulary"}


HDF5 = (".h5", ".hdf5")


def read_config(path: Path) -> Any:
    """The configuration of a `.keras` or HDF5 file, whose archive and weights are checked.

    Raises:
        EdgegolfError: No such file, no Keras model, or one that takes more than it is worth.
    """
    if path.suffix not in (".keras", *HDF5):
        raise EdgegolfError(f"{path} is not a .keras file", hint="save with model.save('x.keras')")
    limit = worth(check_size(path))
    try:
        if path.suffix in HDF5:
            return _read_hdf5_config(path, limit)
        with zipfile.ZipFile(path) as archive:
            _check_entries(archive, path, limit)
            if archive.getinfo("config.json").file_size > MAXIMUM_CONFIG_BYTES:
                raise EdgegolfError(f"{path} has a config.json that is too large")
            config = json.loads(archive.read("config.json"))
            for entry in archive.infolist():
                if entry.filename.endswith(".h5"):
                    with archive.open(entry) as source:
                        _check_hdf5(source, path, limit)
                elif entry.filename.endswith(".npz"):
                    with archive.open(entry) as source:
                        _check_npz(source, path, limit)
    except KeyError:
        raise EdgegolfError(f"{path} is a zip file without config.json, no Keras model") from None
    except DAMAGED:
        raise EdgegolfError(
            f"{path} is damaged or not a Keras model", hint="save with model.save('x.keras')"
        ) from None
    return config


def _read_hdf5_config(path: Path, limit: int) -> Any:
    h5py = require("h5py", extra="train")
    with path.open("rb") as source:
        _check_hdf5(source, path, limit)
    with h5py.File(path, "r") as file:
        config = file.attrs.get("model_config")
        if config is None:
            raise EdgegolfError(
                f"{path} holds weights only, and not the layers that take them",
                hint="build the model, load the weights, and save with model.save('x.keras')",
            )
        if not isinstance(config, str | bytes):
            raise ValueError("its configuration is no text")
        if len(config) > MAXIMUM_CONFIG_BYTES:
            raise EdgegolfError(f"{path} has a configuration that is too large")
        return json.loads(config)


def check_config(config: object, path: Path) -> None:
    """Refuse sizes and counts that no net of this file could have, before Keras sees them.

    Raises:
        EdgegolfError: A number is too large, or layers are called too often.
    """
    unrolled = False
    steps = 0
    for key, value in _values(config):
        if key == "unroll" and value is True:
            unrolled = True
        if isinstance(value, bool) or not isinstance(value, int) or key in NO_SIZES:
            continue
        steps = max(steps, value)
        if value > MAXIMUM_NUMBER:
            raise EdgegolfError(
                f"{path} has a layer with {key} = {value:,}, more than the {MAXIMUM_NUMBER:,} "
                "allowed"
            )
    if unrolled and steps > MAXIMUM_UNROLLED:
        raise EdgegolfError(
            f"{path} has an unrolled recurrent layer and {steps:,} as a size, more than the "
            f"{MAXIMUM_UNROLLED:,} allowed",
            hint="build it with unroll=False",
        )
    try:
        calls = _calls(config)
    except RecursionError:
        raise EdgegolfError(f"{path} has models nested too deep") from None
    if calls > MAXIMUM_LAYERS:
        raise EdgegolfError(
            f"{path} calls layers {calls:,} times, more than the {MAXIMUM_LAYERS:,} allowed"
        )


def check_model(keras: Any, config: object, path: Path) -> None:
    """Build a model without its variables, and refuse it where these would be too large.

    Raises:
        EdgegolfError: Its weights or the results of a layer are more than the file is worth.
        Exception: Keras cannot build it; of any type.
    """
    limit = worth(check_size(path))
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = _built(keras, config, path)
        weights = sum(_bytes(each.shape, each.dtype) for each in getattr(model, "variables", ()))
        largest = largest_result(model) * 4
    finally:
        keras.utils.clear_session(free_memory=False)  # it would initialize the variables later
    for size, what in ((weights, "weights of"), (largest, "a layer whose result has")):
        if size > limit:
            raise EdgegolfError(
                f"{path} has {what} {size:,} bytes, more than the {limit:,} allowed for a file of "
                "its size"
            )


def _built(keras: Any, config: Any, path: Path) -> Any:
    if path.suffix in HDF5:
        from keras.src.legacy.saving import saving_utils

        return saving_utils.model_from_config(config)
    return keras.saving.deserialize_keras_object(config, safe_mode=True)


def largest_result(model: Any) -> int:
    """The numbers in the largest result of a layer, for one sample."""
    graph = getattr(model, "_functional", None) or model
    operations = getattr(graph, "operations", ())
    return max(
        (
            math.prod(size for size in tensor.shape if size is not None)
            for operation in operations
            for node in operation._inbound_nodes
            for tensor in node.outputs
        ),
        default=0,
    )


def check_arrays(path: Path) -> None:
    """Refuse an `.npz` file whose headers tell of more than it holds, or than it is worth.

    Raises:
        EdgegolfError: It does, or is missing.
        Exception: It is damaged; of any type.
    """
    limit = worth(check_size(path))
    with path.open("rb") as source:
        _check_npz(source, path, limit)


def check_array(path: Path) -> None:
    """The same for an `.npy` file. Raises as `check_arrays`."""
    size = check_size(path)
    with path.open("rb") as file:
        _check_header(file, size)


def _check_npz(source: IO[bytes], path: Path, limit: int) -> None:
    with zipfile.ZipFile(source) as archive:
        _check_entries(archive, path, limit)
        for entry in archive.infolist():
            with archive.open(entry) as file:
                _check_header(file, entry.file_size)


def _check_header(file: IO[bytes], size: int) -> None:
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("objects would run code")
    if math.prod(shape) * dtype.itemsize > size:
        raise ValueError("its header tells of more than it holds")


def _check_entries(archive: zipfile.ZipFile, path: Path, limit: int) -> None:
    entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    if len(entries) > MAXIMUM_ENTRIES or unpacked > limit:
        raise EdgegolfError(
            f"{path} unpacks to too much: {unpacked:,} bytes in {len(entries):,} entries, where "
            f"{limit:,} are allowed for a file of its size. Is it a zip bomb?"
        )


def _check_hdf5(source: IO[bytes], path: Path, limit: int) -> None:
    """Sum up what the datasets of an HDF5 file would take; none is read."""
    h5py = require("h5py", extra="train")
    total = 0

    def visit(name: str) -> None:
        nonlocal total
        if name.count("/") > MAXIMUM_NESTING:  # to find an item takes as many steps
            raise EdgegolfError(f"{path} has weights nested too deep")
        item = file[name]
        if not isinstance(item, h5py.Dataset):
            return
        if item.is_virtual or item.external:
            raise EdgegolfError(f"{path} has weights in another file: {name}")
        if item.dtype.kind not in "biufcV":
            raise EdgegolfError(f"{path} has weights that are no numbers: {name}")
        sizes = [_bytes(item.shape or (), item.dtype)]
        if item.chunks is not None:
            sizes.append(_bytes(item.chunks, item.dtype))
            if item.id.get_create_plist().get_nfilters():
                sizes.append(DEFLATE * item.id.get_storage_size())
        total += max(sizes)
        if total > limit:
            raise EdgegolfError(
                f"{path} has weights that unpack to {total:,} bytes or more, where {limit:,} are "
                "allowed for a file of its size"
            )

    with tempfile.TemporaryFile() as unpacked:
        shutil.copyfileobj(source, unpacked)
        with h5py.File(unpacked, "r") as file:
            file.visit(visit)


def _bytes(shape: Any, dtype: Any) -> int:
    width = getattr(dtype, "itemsize", None) or (8 if "64" in str(dtype) else 4)
    return math.prod(int(size) for size in shape) * width


def _values(config: object) -> Iterator[tuple[str, object]]:
    """Every plain value of a configuration, with the key that it is below."""
    pending: list[tuple[str, object]] = [("", config)]
    while pending:
        key, value = pending.pop()
        if isinstance(value, dict):
            pending.extend((str(each), inner) for each, inner in value.items())
        elif isinstance(value, list):
            pending.extend((key, inner) for inner in value)
        else:
            yield key, value


def _calls(config: object) -> int:
    """How often layers are called: those of a nested model as often as it is, and so on."""
    if isinstance(config, list):
        return sum(_calls(each) for each in config)
    if not isinstance(config, dict):
        return 0
    times = 1
    nodes = config.get("inbound_nodes")
    if isinstance(nodes, list):
        times = max(1, len(nodes))
    inside = sum(_calls(value) for key, value in config.items() if key != "inbound_nodes")
    if config.get("class_name") == "Sequential":  # each layer that is added has all called anew
        own = config.get("config")
        layers = own.get("layers") if isinstance(own, dict) else own
        inside *= (len(layers) + 1) // 2 if isinstance(layers, list) and layers else 1
    return times * max(1 if "class_name" in config else 0, inside)
