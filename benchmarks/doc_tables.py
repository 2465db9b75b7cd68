"""The tables that only README and docs show, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import PurePath

from edgegolf.bench.result import BenchResult
from edgegolf.cards import Card
from edgegolf.emulation.instructions import DEFAULT_RUNTIMES, Instructions
from edgegolf.footprint.result import Footprint
from edgegolf.report.footprint_table import named_tables
from edgegolf.report.instruction_tables import by_folder, floats
from edgegolf.report.sweep_tables import sweep_markdown
from edgegolf.report.table import BEST, UNKNOWN, Table, known, mean_and_spread
from edgegolf.sweep import SweepResults

SHOWN_FILES = ("float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx")
LOW_BIT_FILES = ("float32.onnx", "int8.onnx", "int4.onnx", "mixed.onnx", "int4.tflite")


def replace_section(text: str, name: str, content: str) -> str:
    """The text with what stands between the markers of a section replaced.

    A section begins with `<!-- NAME -->` and ends with `<!-- /NAME -->`; a text without them
    stays as it is.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    return f"{before}{begin}{content}{end}{after}" if found and closed else text


def training_markdown(cards: Sequence[Card]) -> str:
    """One row per net: its accuracy and cost beside the article's."""
    header = ("net", "parameters", "article", "ours, mean of seeds", "seeds", "epochs", "seconds")
    rows = (
        (
            f"`{card.net}`",
            f"{card.parameters:,}",
            known(card.article_accuracy, "{:.2%}"),
            mean_and_spread([result.test_accuracy for result in card.seeds]),
            f"{len(card.seeds)}",
            f"{card.seeds[0].epochs}",
            f"{statistics.mean(result.seconds for result in card.seeds):.0f}",
        )
        for card in sorted(cards, key=lambda card: card.parameters)
    )
    return Table(header, tuple(rows)).markdown()


def low_bits_markdown(cards: Sequence[Card]) -> str:
    """One row for each net with weights of 4 bits."""
    return files_markdown([card for card in cards if "int4.onnx" in card.files], LOW_BIT_FILES)


def files_markdown(cards: Sequence[Card], names: Sequence[str] = SHOWN_FILES) -> str:
    """One row per net: bytes and test accuracy of its files."""

    def cell(card: Card, name: str) -> str:
        facts = card.files.get(name)
        return f"{facts.size_bytes:,} B, {facts.test_accuracy:.2%}" if facts else UNKNOWN

    rows = (
        (f"`{card.net}`", *(cell(card, name) for name in names))
        for card in sorted(cards, key=lambda card: card.parameters)
    )
    return Table(("net", *names), tuple(rows)).markdown()


def footprint_sections(footprint: Footprint) -> dict[str, str]:
    """A footprint, by the name of the section in docs/footprint.md."""
    return {name: table.markdown() for name, table in named_tables(footprint).items()}


def sweep_sections(results: SweepResults) -> dict[str, str]:
    """The section of docs on this sweep, by its name: its picture and its tables."""
    name = results.name
    picture = f"![Parameters against errors](sweeps/{name}.svg)"
    finished = f"{len(results.runs)} of {results.expected} runs."
    return {f"sweep-{name}": "\n".join((picture, "", finished, "", sweep_markdown(results)))}


def instructions_sections(results: Sequence[Instructions]) -> dict[str, str]:
    """The sections of docs/arm.md."""
    return {
        "arm-choices": _choices(results).markdown(),
        "arm-instructions": _instructions(results).markdown(),
    }


def _instructions(results: Sequence[Instructions]) -> Table:
    """A row for each file, a column for each runtime and processor; a net's fewest are bold."""
    columns = [
        (runtime, cpu)
        for runtime in DEFAULT_RUNTIMES
        for cpu in sorted({result.cpu for result in results if result.runtime == runtime})
    ]
    rows = []
    for folder, of_net in by_folder(results).items():
        fewest = {_fewest(of_net, cpu) for cpu in {cpu for _, cpu in columns}}
        found = {result.key: result for result in of_net}
        for file in dict.fromkeys(result.file for result in of_net):
            cells = []
            for column in columns:
                cell = found.get((file, *column))
                text = "" if cell is None else "fails"
                if cell is not None and cell.instructions is not None:
                    text = f"{cell.instructions:,}" + BEST * (cell in fewest)
                cells.append(text)
            rows.append((f"`{folder.name}`", f"`{PurePath(file).name}`", *cells))
    header = ("net", "file", *(f"{runtime}, {cpu}" for runtime, cpu in columns))
    return Table(header, tuple(rows), labels=2)


def _choices(results: Sequence[Instructions]) -> Table:
    """For each net and processor: the float32 and the other file that execute the fewest.

    Nets without counts of float32 files are left out.
    """
    cpus = sorted({result.cpu for result in results})
    rows = []
    for folder, of_net in by_folder(results).items():
        if not (plain := floats(of_net)):
            continue
        ours = [each for each in of_net if PurePath(each.file).stem.startswith("int8")]
        cells = []
        for cpu in cpus:
            one, other = _fewest(plain, cpu), _fewest(ours, cpu)
            ratio = (other.instructions or 0) / (one.instructions or 1)
            cells += [_choice(one), f"{_choice(other)}, × {ratio:.2f}"]
        rows.append((f"`{folder.name}`", *cells))
    kinds = ("float32.*", "int8*")
    header = ("net", *(f"fewest of `{kind}`, {cpu}" for cpu in cpus for kind in kinds))
    return Table(header, tuple(rows), labels=len(header))


def _fewest(results: Sequence[Instructions], cpu: str) -> Instructions:
    counted = [each for each in results if each.cpu == cpu and each.instructions is not None]
    return min(counted, key=lambda each: each.instructions or 0)


def _choice(result: Instructions) -> str:
    return f"{result.instructions:,}: `{PurePath(result.file).name}` in {result.runtime}"


def costs_markdown(results: Sequence[BenchResult], counts: Sequence[Instructions]) -> str:
    """What files cost: bytes, accuracy, activations, latency, instructions by file and runtime.

    Args:
        results: Benches. Those that failed are left out.
        counts: Of the same files, by the same paths; a file without has no figure there.
    """
    cpus = sorted({count.cpu for count in counts})
    found = {count.key: count.instructions for count in counts}
    header = (
        *("file", "runtime", "bytes", "parameters", "accuracy", "activations, bytes", "p50, µs"),
        *(f"instructions, {cpu}" for cpu in cpus),
    )
    rows = (
        (
            f"`{'/'.join(PurePath(result.file).parts[-2:])}`",
            result.runtime,
            known(result.size_bytes),
            known(result.parameters),
            known(result.accuracy, "{:.2%}"),
            known(result.memory.activation_peak_bytes),
            f"{result.latency_us.p50:,.0f}",
            *(known(found.get((result.file, result.runtime, cpu))) for cpu in cpus),
        )
        for result in results
        if result.error is None and result.latency_us is not None and result.memory is not None
    )
    return Table(header, tuple(rows), labels=2).markdown()
