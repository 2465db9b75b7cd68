"""What C was to reach, and what it does, from the records: a table of docs/c.md."""

from __future__ import annotations

import json

from exactness import MOST_PARAMETERS as LARGEST
from exactness import RECORD as EXACTNESS
from exactness import STRANGERS
from hosts import MOST_PARAMETERS, RECORD, pi_shares
from microcontrollers import COUNTS, NETS, ROOT

from edgegolf.cards import read_card
from edgegolf.report.table import Table


def bars_markdown() -> str:
    """Each bar with what was measured, and whether that meets it or by how much not."""
    rows = [*_microcontrollers(), *_exactness(), *_computers()]
    return Table(("what", "bar", "measured", ""), tuple(rows)).markdown()


def _row(what: str, bar: float, found: float, unit: str = "", digits: int = 0) -> tuple[str, ...]:
    bar_text, found_text = (f"{number:,.{digits}f}{unit}" for number in (bar, found))
    said = "met" if found <= bar else f"missed by {found / bar - 1:.1%}"
    return what, f"≤ {bar_text}", found_text, said


def _microcontrollers() -> list[tuple[str, ...]]:
    counts = json.loads(COUNTS.read_text())

    def of(net: str, way: str, core: str) -> tuple[int, int, int, int]:
        """Flash, arena, arena with all that lies on the stack, and instructions or cycles."""
        run = counts[net][way]
        on = run["cores"][core]
        stack = on.get("stack") or run["scratch"]
        return on["flash"], run["arena"], run["arena"] + stack, on["count"]

    cnn, tight = "mnist/double_cnn-2/int8-smallest", "mnist/tight_resnet/int8"
    flash, _, ram, cycles = of(cnn, "size", "atmega328p")
    uno = "uno_resnet/int8-smallest"
    card = read_card(ROOT / "models" / "mnist" / "uno_resnet")
    assert card is not None
    accuracy = card.files["int8-smallest.tflite"].test_accuracy or 0.0
    uno_flash, _, uno_ram, _ = of(f"mnist/{uno}", "size", "atmega328p")
    fits = accuracy >= 0.988 and uno_flash <= 32_256 and uno_ram <= 2_048
    rows = [
        _row("`double_cnn:2` on an ATmega328P: flash", 3100, flash, " B"),
        _row("… RAM, with the stack of its deepest call", 1500, ram, " B"),
        _row("… cycles", 1_800_000, cycles),
        _row("`pooled_mlp:64` there: cycles", 340_000,
             of("mnist/pooled_mlp-64/int8", "size", "atmega328p")[3]),
        (f"a net on an Arduino Uno: `{uno}`", "≥ 98.8 %, 32,256 B, 2,048 B",
         f"{accuracy:.2%}, {uno_flash:,} B, {uno_ram:,} B", "met" if fits else "missed"),
        _row("TightResNet: flash on an M0, size", 3400, of(tight, "size", "cortex-m0")[0], " B"),
        _row("… speed", 4000, of(tight, "speed", "cortex-m0")[0], " B"),
        _row("… arena, size and ram", 3150, of(tight, "size", "cortex-m0")[1], " B"),
        _row("… arena, speed", 4000, of(tight, "speed", "cortex-m0")[1], " B"),
    ]  # fmt: skip
    for core, most in (("cortex-m0", 5.0), ("cortex-m4", 1.9), ("rv32imac", 5.2)):
        found = of(tight, "speed", core)[3] / 1e6
        rows.append(_row(f"… million instructions, {core}", most, found, "", 2))
    for name, net, ram, flash, most in (
        ("ResNet8", "resnet8", 34_000, 88_000, 40),
        ("KWS", "kws", 16_000, 30_000, 10),
    ):
        found_flash, _, found_ram, found = of(f"mlperf_tiny_{net}_int8", "ram", "cortex-m4")
        rows += [
            _row(f"MLPerf {name}, `--optimize ram`: RAM with stack", ram, found_ram, " B"),
            _row("… flash", flash, found_flash, " B"),
            _row("… million instructions, cortex-m4", most, found / 1e6, "", 1),
        ]
    return rows


def _exactness() -> list[tuple[str, ...]]:
    found = json.loads(EXACTNESS.read_text())
    folders = (ROOT / "models" / "mnist").iterdir()
    cards = {folder.name: card for folder in folders if (card := read_card(folder))}
    small = {net for net, card in cards.items() if card.parameters < LARGEST}
    fitting = {name.split("/")[1] for name, ways in NETS.items()
               if "atmega328p" in ways.get("size", ())}  # fmt: skip
    large = {each.name for each in (ROOT / "models" / "cifar10").iterdir() if read_card(each)}
    random = {name.split("/")[1] for name in found if name.startswith("cifar10/")}

    def row(what: str, nets: set[str], done: set[str]) -> tuple[str, ...]:
        missing = len(nets - done)
        said = f"{missing} missing" if missing else "met"
        return what, f"{len(nets)} nets", f"{len(nets & done)} nets", said

    def on(place: str, least: int, folder: str = "mnist/") -> set[str]:
        return {name.removeprefix(folder).split("/")[0] for name, counts in found.items()
                if name.startswith(folder) and counts.get(place, 0) >= least}  # fmt: skip

    here = "this machine"
    strangers = {name for name in STRANGERS if found.get(name, {}).get(here, 0) >= 200}
    return [
        row("every bit of 1,000 images, MNIST nets, here", {*cards}, on(here, 1000)),
        *(row(f"… on a {core}, below {LARGEST:,} parameters", small, on(core, 1000))
          for core in ("cortex-m0", "cortex-m4", "rv32imac")),
        row("… on an ATmega328P, those that fit", fitting, on("atmega328p", 1000)),
        (f"the same, CIFAR-10 nets: {len(random)} with 200 random inputs", f"{len(large)} nets",
         f"{len(on(here, 1000, 'cifar10/'))} nets", "a thousand images take hours"),
        row("every bit of 200 inputs, MLPerf Tiny, here", {*STRANGERS}, strangers),
    ]  # fmt: skip


def _computers() -> list[tuple[str, ...]]:
    rows = []
    shares = pi_shares()
    for core, bar in (("cortex-a72", 0.85), ("cortex-a76", 0.48)):
        by_net = {net: cores[core][0] / cores[core][2] for net, cores in shares.items()}
        worst = max(by_net, key=lambda net: by_net[net])
        rows.append(
            _row(f"{core}: instructions of TightResNet", bar, by_net["tight_resnet"], "", 2)
        )
        rows.append(_row(f"… of the worst net, `{worst}`", 1, by_net[worst], "", 2))
    timed = json.loads(RECORD.read_text())["nets"]
    by_net = {net: each["c"]["us"] / each["runtime"]["us"] for net, each in timed.items()}
    worst = max(by_net, key=lambda net: by_net[net])
    rows.append(_row("x86-64: time of TightResNet", 0.6, by_net["tight_resnet"], "", 2))
    what = f"… of the worst net below {MOST_PARAMETERS:,} parameters, `{worst}`"
    rows.append(_row(what, 1, by_net[worst], "", 2))
    return rows
