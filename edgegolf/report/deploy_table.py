"""A device and what is deployed on it, for people."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from edgegolf.report.table import Table

if TYPE_CHECKING:
    from edgegolf.deploy.deploy import DeployedModel, Release, Status
    from edgegolf.deploy.device import Device


def device_lines(device: Device) -> tuple[str, ...]:
    """The device's facts: what it is, what there is room for, how it is doing."""
    from edgegolf.deploy.device import warnings

    clock = f"{device.frequency_mhz:,.0f} MHz, " if device.frequency_mhz else ""
    warmth = f"{device.temperature_c:.0f} °C" if device.temperature_c is not None else ""
    state = ", ".join(
        filter(None, (f"{clock}governor {device.governor}" if device.governor else "", warmth))
    )
    return (
        f"{device.board or device.machine}: {device.os}, {device.kernel}, "
        f"{device.architecture} ({device.bits} bits), Python {device.python}",
        f"{device.memory_bytes / 1e9:.1f} GB of memory, {device.free_bytes / 1e9:.1f} GB free "
        f"for {device.root}" + (f"; {state}" if state else ""),
        *warnings(device),
    )


def models_table(release: Release) -> Table:
    """The models of a release and how they agree with this machine."""
    header = ("folder", "model", "size, B", "runs in", "outputs there and here")
    rows = (
        (*_folder_and_name(model), f"{model.size_bytes:,}", model.runtime, _agreement(model))
        for model in release.models
    )
    return Table(header, tuple(rows), labels=2)


def releases_table(status: Status) -> Table:
    """Every release on the device with its models; the one in use is marked."""
    rows = (
        (
            f"release {release.release} of {release.date}, edgegolf {release.edgegolf}"
            + (", in use" if release.release == status.current else ""),
            *_folder_and_name(model),
        )
        for release in status.releases
        for model in release.models
    )
    return Table(("release", "folder", "model"), tuple(rows), labels=3, headings=1)


def _folder_and_name(model: DeployedModel) -> tuple[str, str]:
    path = PurePosixPath(model.name)
    return str(path.parent), path.name


def _agreement(model: DeployedModel) -> str:
    if model.difference == 0:
        return "the same bits"
    return f"{model.difference:.2g} of their variation apart"
