"""Whether two model files give bit-identical outputs, in every installed runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.golf.golf import Comparison
from edgegolf.runtimes.child import run_in_child
from edgegolf.runtimes.registry import installed_runtimes, open_session
from edgegolf.runtimes.session import Array, Session, TensorInfo

TIMEOUT_SECONDS = 600.0
RANDOM_RUNS = 8
MAXIMUM_ELEMENTS = 1 << 28
_FAILED = "failed"


def compare_files(original: Path, rewritten: Path) -> Comparison:
    """Run both files on random and on extreme inputs, in a process that may crash.

    A runtime that cannot load or run the original is left out. Inputs that make the original fail
    must make the rewritten file fail.

    Args:
        original: A ``.tflite`` or ``.onnx`` file.
        rewritten: A file of the same kind whose inputs and outputs have the same order.
    """
    agreeing = []
    for runtime in installed_runtimes(original):
        try:
            same = run_in_child(_agree, original, rewritten, runtime, timeout=TIMEOUT_SECONDS)
        except EdgegolfError as error:
            if _runs(original, runtime):
                return Comparison((), f"the rewritten file fails in {runtime}: {error.message}")
            continue
        if not same:
            return Comparison((), f"the outputs in {runtime} differ")
        agreeing.append(runtime)
    return Comparison(tuple(agreeing))


def _agree(original: Path, rewritten: Path, runtime: str) -> bool:
    return run_digests(original, runtime) == run_digests(rewritten, runtime)


def _runs(path: Path, runtime: str) -> bool:
    try:
        run_in_child(run_digests, path, runtime, timeout=TIMEOUT_SECONDS)
    except EdgegolfError:
        return False
    return True


def run_digests(path: Path, runtime: str) -> tuple[tuple[str, ...], ...]:
    """For each set of inputs, a digest of each output's type, shape and bytes.

    Raises:
        EdgegolfError: The runtime cannot load the file, or fails on all inputs.
    """
    with open_session(path, runtime) as session:
        found = tuple(_digests(session, arrays) for arrays in _input_sets(session.inputs))
    if all(item == (_FAILED,) for item in found):
        raise EdgegolfError(f"{path} does not run in {runtime}")
    return found


def _digests(session: Session, arrays: list[Array]) -> tuple[str, ...]:
    try:
        outputs = session.run(arrays)
    except EdgegolfError:
        return (_FAILED,)
    return tuple(_digest(output) for output in outputs)


def _digest(output: Array) -> str:
    content = output.tobytes() if output.dtype != object else repr(output.tolist()).encode()
    description = f"{output.dtype} {output.shape} ".encode()
    return hashlib.sha256(description + content).hexdigest()


def _input_sets(infos: tuple[TensorInfo, ...]) -> Iterator[list[Array]]:
    generator = np.random.default_rng(0)
    for sizes in (1, 3) if any(None in info.shape for info in infos) else (1,):
        for kind in ("zero", "one", "lowest", "highest"):
            yield [_extreme(info, kind, sizes) for info in infos]
        for _ in range(RANDOM_RUNS):
            yield [_random(info, generator, sizes) for info in infos]


def _shape(info: TensorInfo, open_size: int) -> tuple[int, ...]:
    shape = tuple(open_size if size is None else size for size in info.shape)
    if np.prod(shape, dtype=float) > MAXIMUM_ELEMENTS:
        raise EdgegolfError(f"the input {info} is larger than {MAXIMUM_ELEMENTS:,} elements")
    return shape


def _dtype(info: TensorInfo) -> np.dtype[np.generic] | None:
    try:
        return np.dtype(info.dtype)
    except TypeError:
        return None


def _extreme(info: TensorInfo, kind: str, open_size: int) -> Array:
    shape, dtype = _shape(info, open_size), _dtype(info)
    if dtype is None or dtype.kind not in "fiub":
        return np.full(shape, b"" if kind == "zero" else kind.encode(), dtype=object)
    if kind in ("zero", "one") or dtype.kind == "b":
        return np.full(shape, kind in ("one", "highest"), dtype)
    if dtype.kind == "f":
        return np.full(shape, -1e4 if kind == "lowest" else 1e4, dtype)
    limits = np.iinfo(dtype)
    return np.full(shape, limits.min if kind == "lowest" else limits.max, dtype)


def _random(info: TensorInfo, generator: np.random.Generator, open_size: int) -> Array:
    shape, dtype = _shape(info, open_size), _dtype(info)
    if dtype is None or dtype.kind not in "fiub":
        return np.full(shape, generator.bytes(4).hex().encode(), dtype=object)
    if dtype.kind == "f":
        return (generator.standard_normal(shape) * generator.choice([0.1, 1, 10])).astype(dtype)
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(dtype)
    limits = np.iinfo(dtype)
    # Wider integers that are not quantized are indices or sizes, of which few are valid.
    low, high = (0, 3) if dtype.itemsize > 2 and not info.scale else (limits.min, limits.max)
    return generator.integers(low, high, shape, dtype, endpoint=True)
