"""Instructions per inference as Markdown, for docs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from edgegolf.emulation.instructions import DEFAULT_RUNTIMES, Instructions

FLOAT = "float32"


def instructions_sections(results: Sequence[Instructions]) -> dict[str, str]:
    """The sections of docs/arm.md."""
    return {
        "arm-choices": choices_markdown(results),
        "arm-instructions": instructions_markdown(results),
    }


def instructions_markdown(results: Sequence[Instructions]) -> str:
    """A row for each file, a column for each runtime and processor; the fewest of a net in bold."""
    columns = [
        (runtime, cpu)
        for runtime in DEFAULT_RUNTIMES
        for cpu in sorted({result.cpu for result in results if result.runtime == runtime})
    ]
    lines = [
        f"| net | file |{''.join(f' {runtime}, {cpu} |' for runtime, cpu in columns)}",
        f"| --- | --- |{' ---: |' * len(columns)}",
    ]
    for net, of_net in _by_net(results).items():
        fewest = {_fewest(of_net, cpu) for cpu in {cpu for _, cpu in columns}}
        found = {(result.file, result.runtime, result.cpu): result for result in of_net}
        for file in dict.fromkeys(result.file for result in of_net):
            cells = [found.get((file, *column)) for column in columns]
            texts = [_cell(cell, cell in fewest) for cell in cells]
            lines.append(f"| `{net}` | `{PurePosixPath(file).name}` | {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


def choices_markdown(results: Sequence[Instructions]) -> str:
    """For each net and processor: the float32 and the other file that execute the fewest.

    Nets without counts of float32 files are left out.
    """
    cpus = sorted({result.cpu for result in results})
    pairs = [f" fewest of `float32.*`, {cpu} | fewest of `int8*`, {cpu} |" for cpu in cpus]
    lines = [f"| net |{''.join(pairs)}", f"| --- |{' --- | --- |' * len(cpus)}"]
    for net, of_net in _by_net(results).items():
        if not any(_stem(each) == FLOAT for each in of_net):
            continue
        cells = []
        for cpu in cpus:
            plain = _fewest([each for each in of_net if _stem(each) == FLOAT], cpu)
            other = _fewest([each for each in of_net if _is_ours(each)], cpu)
            cells += [_choice(plain), f"{_choice(other)}, {_ratio(other, plain)}"]
        lines.append(f"| `{net}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _by_net(results: Sequence[Instructions]) -> dict[str, list[Instructions]]:
    nets = defaultdict(list)
    for result in results:
        nets[PurePosixPath(result.file).parent.name].append(result)
    return nets


def _stem(result: Instructions) -> str:
    return PurePosixPath(result.file).stem


def _is_ours(result: Instructions) -> bool:
    return _stem(result).startswith("int8")


def _fewest(results: Sequence[Instructions], cpu: str) -> Instructions:
    counted = [each for each in results if each.cpu == cpu and each.instructions is not None]
    return min(counted, key=lambda each: each.instructions or 0)


def _cell(result: Instructions | None, is_fewest: bool) -> str:
    if result is None:
        return ""
    if result.instructions is None:
        return "fails"
    return f"**{result.instructions:,}**" if is_fewest else f"{result.instructions:,}"


def _choice(result: Instructions) -> str:
    name = PurePosixPath(result.file).name
    return f"{result.instructions:,}: `{name}` in {result.runtime}"


def _ratio(result: Instructions, other: Instructions) -> str:
    return f"× {(result.instructions or 0) / (other.instructions or 1):.2f}"
