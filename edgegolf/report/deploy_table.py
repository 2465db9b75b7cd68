"""A device and what is deployed on it, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

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
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    table.add_column("model", overflow="fold")
    for heading in ("size, B", "runs in", "outputs there and here"):
        table.add_column(heading, justify="right")
    for model in release.models:
        table.add_row(
            escape(model.name), f"{model.size_bytes:,}", escape(model.runtime), _agreement(model)
        )
    return table


def releases_table(status: Status) -> Table:
    """Every release on the device; the one in use is marked."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    for heading in ("release", "date", "edgegolf", "models"):
        table.add_column(heading, overflow="fold")
    for release in status.releases:
        used = "in use" if release.release == status.current else ""
        names = "\n".join(model.name for model in release.models)
        table.add_row(
            f"{release.release} {used}", escape(release.date), escape(release.edgegolf),
            escape(names),
        )  # fmt: skip
    return table


def _agreement(model: DeployedModel) -> str:
    if model.difference == 0:
        return "the same bits"
    return f"{model.difference:.2g} of their variation apart"
