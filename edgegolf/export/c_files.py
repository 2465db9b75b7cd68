"""From a model file to C, compared with the interpreter and measured before it is written."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgegolf.backends import c
from edgegolf.backends.c.compiling import (
    DEVICES,
    Footprint,
    differing,
    find_compiler,
    footprint,
    this_machine,
)
from edgegolf.backends.c.projects import Project
from edgegolf.backends.c.projects import project as project_files
from edgegolf.backends.c.writer import HOSTS
from edgegolf.cards import read_card
from edgegolf.data import DatasetUnavailableError, load_dataset
from edgegolf.errors import EdgegolfError, unknown
from edgegolf.files import atomic_path, check_writable, read_bounded
from edgegolf.formats.model_format import model_format
from edgegolf.frontends import onnx, tflite
from edgegolf.ir import Graph, Tensor
from edgegolf.ir.lowering import quantize
from edgegolf.ir.tensor import Array

_RANDOM_INPUTS, _IMAGES, _GOLDEN = 1_000, 1_000, 2


@dataclass(frozen=True)
class CResult:
    """What became of a file."""

    SCHEMA: ClassVar[str] = "edgegolf.c/1"

    source: str  # path of the model
    files: tuple[str, ...]  # paths of what was written
    macs: int | None  # multiply-accumulates of one run; None if unknown
    input_bytes: int  # of one input, part of the arena
    footprint: Footprint  # what the compiled C takes
    device: str | None = None  # the device that it fits, if one was named
    flash_left: int | None = None  # bytes that it leaves of the device's flash
    ram_left: int | None = None  # bytes that it leaves of its RAM, for the rest of the program
    # Inputs for which every bit of the output was compared: random, of a data set.
    compared: tuple[int, int] | None = None


def write_c(
    path: Path, output: Path | None = None, fits: str | None = None, check: bool = False,
    selftest: bool = False, optimize: c.Optimize = "size", project: Project | None = None,
    target: c.Target = "portable",
) -> CResult:  # fmt: skip
    """Write a `.c` file and its header, or a project with them.

    Args:
        path: A `.tflite` or `.onnx` file that computes in 8-bit integers.
        output: The `.c` file, or the project's folder; named after the model, in the current
            folder, if None.
        fits: A device that it must fit, one of `DEVICES`.
        check: Whether to compile it here and to compare its outputs with the interpreter's.
        selftest: Whether it shall hold two inputs with their outputs.
        optimize: What to make small.
        project: What to write a project for, if for anything.
        target: What it shall run on.

    Raises:
        EdgegolfError: C has no way to compute it, it does not fit, a compiler is missing, or an
            output differs. Nothing is written then.
    """
    if fits is not None and fits not in DEVICES:
        raise unknown(f"there is no device {fits!r}", fits, DEVICES)
    if (small := fits or project) and target in HOSTS:
        raise EdgegolfError(
            f"{small} cannot run what is written for {target}", "leave out --target"
        )
    device = DEVICES[fits] if fits else None
    command = find_compiler(device)
    suffix = "" if project else ".c"
    destination = output or Path(f"{c.identifier(path.stem)}{suffix}")
    if destination.suffix != suffix:
        what = "is no folder's name" if project else "does not end in .c"
        raise EdgegolfError(f"{destination} {what}")
    check_writable(destination, is_folder=bool(project))
    graph = read_model(path)
    try:
        plain = c.in_integers(graph)
        given = plain.inputs[0]
        golden = random_inputs(given, _GOLDEN) if selftest else None
        files = c.write(plain, destination.resolve().stem, golden, optimize, target)
    except c.NotInCError as error:
        raise EdgegolfError(f"{path}: C cannot have {error.message}", error.hint) from None
    except EdgegolfError as error:
        raise EdgegolfError(f"{path}: {error.message}", error.hint) from None
    taken = footprint(files, command)
    flash_left = ram_left = None
    if device is not None:
        flash_left = device.flash_bytes - taken.flash_bytes
        ram_left = device.ram_bytes - taken.ram_bytes
        if min(flash_left, ram_left) < 0:
            raise EdgegolfError(
                f"{path} does not fit {device.name}: {taken.flash_bytes:,} of "
                f"{device.flash_bytes:,} bytes of flash, {taken.ram_bytes:,} of "
                f"{device.ram_bytes:,} bytes of RAM"
            )
    compared = None
    if check:
        parts = [random_inputs(given, _RANDOM_INPUTS), images_of(path, given)]
        options = ("-march=native",) if target == this_machine() else ()
        wrong = differing(plain, files, np.concatenate(parts), options)
        if wrong:
            raise EdgegolfError(f"{path}: {wrong} outputs in C differ from the interpreter's")
        compared = (len(parts[0]), len(parts[1]))
    texts = {destination.with_name(f"{files.name}.h"): files.header, destination: files.source}
    if project:
        made = project_files(project, destination.resolve().name, files, given)
        texts = {destination / name: text for name, text in made.items()}
    with ExitStack() as stack:  # all or none
        for place, text in texts.items():
            stack.enter_context(atomic_path(place)).write_bytes(text.encode())
    return CResult(
        str(path), tuple(map(str, reversed(texts))), files.macs, given.elements, taken,
        fits, flash_left, ram_left, compared,
    )  # fmt: skip


def read_model(path: Path) -> Graph:
    """The graph of a `.tflite` or `.onnx` file. Raises EdgegolfError if it is damaged."""
    if model_format(path) == "tflite":
        return tflite.read_graph(path)
    return onnx.read_graph(read_bounded(path), str(path), folder=path.parent).graph


def random_inputs(tensor: Tensor, count: int) -> Array:
    """Inputs of all numbers alike, the first and the last ones the extreme ones."""
    low, high = tensor.limits
    shape = (count * tensor.shape[0], *tensor.shape[1:])
    inputs = np.random.default_rng(0).integers(low, high + 1, shape).astype(tensor.dtype)
    if count > 2:
        inputs[0], inputs[-1] = low, high
    return inputs


def images_of(path: Path, tensor: Tensor) -> Array:
    """Validation images of the data set that the card beside a file names; none without it."""
    none = np.zeros((0, *tensor.shape[1:]), tensor.dtype)
    card = read_card(path.parent)
    if card is None or tensor.quant is None:
        return none
    try:
        images = load_dataset(card.dataset).split("validation").images[:_IMAGES]
    except DatasetUnavailableError:
        return none
    if images[0].size != tensor.elements:
        return none
    shown = images.reshape(len(images), *tensor.shape[1:]).astype(np.float32) / np.float32(255)
    return quantize(shown, tensor)
