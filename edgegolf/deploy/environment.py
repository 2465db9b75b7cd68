"""An isolated environment on a device, the same for the same requirements."""

from __future__ import annotations

from pathlib import Path

from edgegolf.deploy.connection import Connection
from edgegolf.deploy.contents import Content, send
from edgegolf.deploy.device import Device
from edgegolf.deploy.models import digest
from edgegolf.deploy.wheels import (
    edgegolf_wheel,
    fetch_wheels,
    pip_wheel,
    requirements,
    unpacked_bytes,
)
from edgegolf.errors import EdgegolfError
from edgegolf.progress import doing


def ensure_environment(connection: Connection, device: Device, wheels: Path | None) -> str:
    """Install edgegolf's light base on a device, unless the same is there already.

    Args:
        connection: To the device.
        device: What it is.
        wheels: The folder with the wheels to install; what it lacks is fetched. None: the device
            takes them from its package index.

    Returns:
        The environment's identifier.

    Raises:
        EdgegolfError: A package cannot be had, or the device's disk is full.
    """
    own = edgegolf_wheel()
    wanted = requirements(device)
    lines = [str(requirement) for requirement in wanted]
    identifier = digest([own.sha256, device.architecture, device.python, device.libc, lines])
    if connection.ask("find_environment", environment=identifier).get("complete") is True:
        return identifier
    packages: tuple[Content, ...] = ()
    if wheels is not None:
        with doing(f"looking for wheels that fit {connection.host}"):
            packages = fetch_wheels(wanted, device, wheels)
        _check_space(device, packages)
    pip = pip_wheel()
    send(connection, (*packages, own, pip))
    with doing(f"installing edgegolf's light base on {connection.host}") as tell:
        connection.ask(
            "install",
            tell=tell,
            environment=identifier,
            edgegolf=(own.name, own.sha256),
            pip=(pip.name, pip.sha256),
            wheels=[(wheel.name, wheel.sha256) for wheel in packages],
            requirements=lines,
        )
    return identifier


def _check_space(device: Device, packages: tuple[Content, ...]) -> None:
    needed = sum(package.size for package in packages) + unpacked_bytes(packages)
    if needed > device.free_bytes:
        raise EdgegolfError(
            f"{device.root} has {device.free_bytes / 1e6:,.0f} MB free, the packages need "
            f"{needed / 1e6:,.0f} MB",
            hint="make room there, or choose a folder on another disk with --dir",
        )
