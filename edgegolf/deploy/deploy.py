"""Puts models to use on a device: installed, copied, verified, run once; all or nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ClassVar

import edgegolf
from edgegolf.deploy.choosing import chosen_files
from edgegolf.deploy.connection import Connection
from edgegolf.deploy.contents import send
from edgegolf.deploy.device import Device, check, probe
from edgegolf.deploy.environment import ensure_environment
from edgegolf.deploy.host import Host
from edgegolf.deploy.models import ModelFile, Tree, arrange
from edgegolf.deploy.sample import LARGEST_DIFFERENCE, Sample, difference, encode, take_sample
from edgegolf.deploy.wheels import requires_python
from edgegolf.errors import EdgegolfError, printable_values
from edgegolf.progress import track
from edgegolf.records import from_dict, to_dict
from edgegolf.runtimes.registry import find_runtime, runtimes_for, works_here
from edgegolf.runtimes.worker import run_in_fork

SAMPLE_SECONDS = 600.0


@dataclass(frozen=True)
class DeployedModel:
    """A model on a device."""

    name: str  # its file below `current/models/` there
    sha256: str  # of the file
    size_bytes: int  # of the file
    runtime: str  # what runs it there
    # How far its outputs there are from those here, as a fraction of how much they vary with the
    # input; 0 means the same bits.
    difference: float


@dataclass(frozen=True)
class Release:
    """What was put to use on a device at one time; its `manifest.json`."""

    SCHEMA: ClassVar[str] = "edgegolf.release/1"
    release: int  # its number there, counted from 1
    date: str  # ISO 8601, UTC, by the clock here
    edgegolf: str  # the version
    models: tuple[DeployedModel, ...]  # in the order of the command


@dataclass(frozen=True)
class Deployed:
    """What `deploy` did."""

    device: Device  # the device before
    release: Release  # what is in use now
    copied_bytes: int  # of models; what was there was not sent again


@dataclass(frozen=True)
class Status:
    """What is on a device."""

    device: Device  # the device now
    releases: tuple[Release, ...]  # those that can be put to use again, oldest first
    current: int | None  # the number of the one in use; None if none is


def deploy(
    host: Host,
    groups: Iterable[Sequence[Path]],
    runtime: str | None = None,
    wheels: Path | None = None,
) -> Deployed:
    """Put models to use on a device. If anything fails, what was in use stays in use.

    Args:
        host: The device.
        groups: `.tflite` and `.onnx` files. Of several that belong together, as those of a net,
            only the one goes that their card names for this device; all where it names none.
        runtime: What runs them there; None is the one that a card names, else the preferred one
            that is installed there.
        wheels: A folder of wheels for a device without internet; None lets it download them.

    Raises:
        EdgegolfError: The device cannot be reached or used, its disk is full, or a model does not
            run there or gives other results than here.
    """
    groups = tuple(groups)
    arrange(path for group in groups for path in group)  # wrong files are refused before all else
    if runtime is not None:
        find_runtime(runtime)
    with Connection(host) as connection:
        device = probe(connection)
        chosen = chosen_files(groups, device, runtime)
        tree = arrange(chosen)
        _check_runtime(tree, runtime)
        suffixes = {model.path.suffix for model in tree.models}
        check(device, str(host), requires_python(), suffixes)
        environment = ensure_environment(connection, device, wheels)
        copied = send_tree(connection, tree)
        models = tuple(
            _verified(connection, environment, tree, model, chosen[model.path])
            for model in track(tree.models, f"running each model on {host}")
        )
        release = Release(
            release=0,  # the device counts
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            edgegolf=edgegolf.__version__,
            models=models,
        )
        connection.ask(
            "release",
            environment=environment,
            models=tree.identifier,
            manifest=to_dict(release),
        )
        return Deployed(device, _in_use(_status(connection, device)), copied)


def rollback(host: Host) -> Release:
    """Put the release before the current one to use again; returns it.

    Raises:
        EdgegolfError: There is none, or the device cannot be reached.
    """
    with Connection(host) as connection:
        connection.ask("rollback")
        return _in_use(_status(connection, probe(connection)))


def status(host: Host) -> Status:
    """What is on a device. Raises EdgegolfError if it cannot be reached."""
    with Connection(host) as connection:
        return _status(connection, probe(connection))


def remove(host: Host) -> None:
    """Take away everything that `deploy` and `bench --on` put on a device.

    Raises:
        EdgegolfError: There is nothing, or the device cannot be reached.
    """
    with Connection(host) as connection:
        connection.ask("remove")


def send_tree(connection: Connection, tree: Tree) -> int:
    """Copy model files to a device, each verified there by its hash; returns the bytes sent."""
    sent = send(connection, list(tree.files.values()))
    files = [(name, content.sha256) for name, content in tree.files.items()]
    connection.ask("build_tree", tree=tree.identifier, files=files)
    return sent


def _check_runtime(tree: Tree, runtime: str | None) -> None:
    if not tree.models:
        raise EdgegolfError("there is no model to deploy", hint="name a .tflite or .onnx file")
    for model in tree.models:
        if runtime is not None and runtime not in runtimes_for(model.path):
            raise EdgegolfError(
                f"{model.path} does not run in {runtime}",
                hint=f"use --runtime {' or '.join(runtimes_for(model.path))}",
            )


def _verified(
    connection: Connection, environment: str, tree: Tree, model: ModelFile, runtime: str | None
) -> DeployedModel:
    """Run a model here and there on the same inputs, and compare."""
    here = _sample(model.path, runtime if runtime and works_here(runtime) else None)
    request = {"file": model.name, "runtime": runtime, "inputs": encode(here.inputs)}
    there = connection.ask(
        "execute",
        environment=environment,
        tree=tree.identifier,
        subject=model.name,
        arguments=["edgegolf.deploy.sample"],
        input=json.dumps(request),
    )
    used, outputs = _read_sample(there.get("output"), model, connection.host)
    if used != here.runtime and works_here(used):
        here = _sample(model.path, used, here.inputs)
    found = difference(here.outputs, outputs)
    if found > LARGEST_DIFFERENCE:
        raise EdgegolfError(
            f"{model.path} gives other results on {connection.host} than here: from {used} there "
            f"to {here.runtime} here they change by {found:.0%} of what they vary with the input",
            hint="try another --runtime",
        )
    return DeployedModel(model.name, model.content.sha256, model.content.size, used, found)


def _sample(path: Path, runtime: str | None, inputs: list[Any] | None = None) -> Sample:
    return run_in_fork(take_sample, path, runtime, inputs, timeout=SAMPLE_SECONDS)


def _read_sample(output: object, model: ModelFile, host: Host) -> tuple[str, list[bytes]]:
    """The runtime and the outputs of the device, whose answer may be anything."""
    try:
        answer = json.loads(str(output))
        if "error" in answer:
            error = printable_values(answer)
            raise EdgegolfError(f"{host}: {error['error']}", str(error.get("hint", "")))
        if answer["runtime"] not in runtimes_for(model.path):
            raise ValueError("no such runtime")
        outputs = [base64.b64decode(text, validate=True) for text in answer["outputs"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise EdgegolfError(f"{host} gives no proper answer about {model.name}") from None
    return answer["runtime"], outputs


def _status(connection: Connection, device: Device) -> Status:
    answer = printable_values(connection.ask("status"))
    source = f"what {connection.host} has in {device.root}"
    manifests, current = answer.get("releases"), answer.get("current")
    if not isinstance(manifests, list) or not (current is None or isinstance(current, int)):
        raise EdgegolfError(f"{source} is no list of releases")
    return Status(device, tuple(from_dict(item, Release, source) for item in manifests), current)


def _in_use(found: Status) -> Release:
    for release in found.releases:
        if release.release == found.current:
            return release
    raise EdgegolfError(f"no release is in use in {found.device.root}")
