"""Chooses between the files that a network can be deployed as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.export.measuring import STOCK, Candidate

Goal = Literal["size", "latency", "balanced"]

RUNTIMES = {".tflite": "litert", ".onnx": "onnxruntime"}  # whose latency counts

SAME_LATENCY = 1.05  # two measurements of one file differ by as much
AS_FAST = 1.01  # in turns, less
NOTICEABLY_FASTER = 0.95  # of the balanced file's latency
NOTICEABLY_SMALLER = 0.99  # of its bytes
# Of accuracy, against the stock float32 file: as many more errors, but within these bounds.
MORE_ERRORS = 1 / 15
DROPS = (0.002, 0.005)
# Of outputs that are no classes: what the stock file keeps of them, or so much.
GOOD_SQNR = 30.0  # dB
SAME_SQNR = 0.05  # dB
# With fewer, accuracy is too coarse to tell files apart: it counts, but so does the noise.
ENOUGH_SAMPLES = 5000
SAME_ACCURACY = 0.001


class LargerThanFloatError(EdgegolfError):
    """No int8 file is smaller than the float one."""


def best_files(
    candidates: Sequence[Candidate],
    suffix: str,
    goal: Goal | None,
    largest: int | None = None,
    samples: int = 0,
) -> dict[str, Candidate]:
    """The candidates worth keeping, by the name of their file.

    Args:
        candidates: Of one format; the first is the float32 file.
        suffix: `.tflite` or `.onnx`.
        goal: What `int8.tflite` (or `int8.onnx`) is chosen for. None: it is the balanced one, never
            worse than the stock file in bytes, latency or quality, and the smallest and the fastest
            are kept beside it where these are others. Only of those that share a block of weights
            it may be a slower one, where many labelled samples tell that it is as accurate.
        largest: The bytes of the float32 file that is kept, which none may exceed.
        samples: How many accuracies were measured on.

    Raises:
        EdgegolfError: No candidate is good enough, or all are larger than that.
    """
    runtime = RUNTIMES[suffix]
    # onnxruntime computes fastest in float32, LiteRT in int8: see docs/sharing.md.
    wanted = ("int8", "int8-weights") if suffix == ".onnx" else ("int8",)
    fitting = [candidate for candidate in candidates if candidate.compute in wanted]
    if largest is not None:
        smaller = [candidate for candidate in fitting if candidate.size_bytes <= largest]
        if fitting and not smaller:
            least = min(candidate.size_bytes for candidate in fitting)
            raise LargerThanFloatError(
                f"it would be larger than float32{suffix}, {least:,} bytes or more for {largest:,}"
            )
        fitting = smaller
    stock = next((candidate for candidate in candidates if candidate.name == STOCK), None)
    kept = {}
    if good := _good(fitting, candidates[0], stock):
        if goal is not None:
            return {f"int8{suffix}": choose(good, goal, runtime)}
        # Few samples may call the stock file bad that verification takes.
        best = _no_worse(good, stock, samples) or _no_worse(fitting, stock, samples) or good
        kept[f"int8{suffix}"] = choose(best, "balanced", runtime)
        goals: dict[str, Goal] = {"int8-smallest": "size", "int8-fastest": "latency"}
        for stem, each in goals.items():
            candidate = choose(good, each, runtime)
            if _is_worth_a_file(candidate, kept[f"int8{suffix}"], each, runtime):
                kept[f"{stem}{suffix}"] = candidate
    weights = [
        candidate
        for candidate in candidates
        if candidate.compute == "int8-weights" and candidate.size_bytes < candidates[0].size_bytes
    ]
    if suffix == ".tflite" and weights:
        good = _good(weights, candidates[0], stock)
        kept["int8-weights.tflite"] = choose(good, "size", runtime)
    if not kept:
        raise EdgegolfError("there is no candidate to choose from")
    return kept


def price_of_sharing(files: Mapping[str, Candidate], suffix: str) -> str | None:
    """What the smallest file costs, if only that shares blocks of weights; a sentence."""
    main, least = files.get(f"int8{suffix}"), files.get(f"int8-smallest{suffix}")
    if main is None or least is None or not least.shared:
        return None
    runtime = RUNTIMES[suffix]
    times = least.latency_ratio[runtime] / main.latency_ratio[runtime]
    return (
        f"int8-smallest{suffix} holds repeated blocks once: {least.size_bytes:,} bytes for "
        f"{main.size_bytes:,} of int8{suffix}, at {times:.2f} times its latency and "
        f"{least.sqnr:.1f} dB for {main.sqnr:.1f} dB"
    )


def _good(
    candidates: Sequence[Candidate], exact: Candidate, stock: Candidate | None
) -> list[Candidate]:
    """Those that keep what the model does; if none does, the best."""

    def quality(candidate: Candidate) -> float:
        return candidate.sqnr if candidate.accuracy is None else candidate.accuracy

    if exact.accuracy is not None:
        least = exact.accuracy - float(np.clip(MORE_ERRORS * (1 - exact.accuracy), *DROPS))
    else:
        least = GOOD_SQNR if stock is None else min(GOOD_SQNR, stock.sqnr - SAME_SQNR)
    good = [candidate for candidate in candidates if quality(candidate) >= least]
    return good or sorted(candidates, key=quality)[-1:]


def _no_worse(
    candidates: Sequence[Candidate], stock: Candidate | None, samples: int
) -> Sequence[Candidate]:
    """Those that lose nothing against the stock file, but for time where much is shared."""
    if stock is None:
        return candidates
    kept = []
    for each in candidates:
        if samples < ENOUGH_SAMPLES or each.accuracy is None or stock.accuracy is None:
            is_as_good, may_be_slower = each.sqnr >= stock.sqnr, False
        else:
            is_as_good, may_be_slower = each.accuracy >= stock.accuracy - SAME_ACCURACY, each.shared
        is_as_fast = each.to_stock is None or each.to_stock <= AS_FAST
        if each.size_bytes <= stock.size_bytes and is_as_good and (is_as_fast or may_be_slower):
            kept.append(each)
    return kept


def _is_worth_a_file(candidate: Candidate, balanced: Candidate, goal: Goal, runtime: str) -> bool:
    """Whether it beats the balanced file by more than a trifle."""
    if goal == "size":
        return candidate.size_bytes < NOTICEABLY_SMALLER * balanced.size_bytes
    return candidate.latency_ratio[runtime] < NOTICEABLY_FASTER * balanced.latency_ratio[runtime]


def pareto_front(candidates: Iterable[Candidate], runtime: str) -> tuple[Candidate, ...]:
    """Those that no other one beats in bytes, latency and accuracy, smallest first."""
    found = list(candidates)

    def beats(a: Candidate, b: Candidate) -> bool:
        first, second = _costs(a, runtime), _costs(b, runtime)
        return first != second and all(x <= y for x, y in zip(first, second, strict=True))

    best = [c for c in found if not any(beats(other, c) for other in found)]
    return tuple(sorted(best, key=lambda candidate: candidate.size_bytes))


def choose(candidates: Iterable[Candidate], goal: Goal, runtime: str) -> Candidate:
    """The best candidate for a goal.

    Args:
        candidates: To choose from.
        goal: `size` for the fewest bytes, `latency` for the fastest, `balanced` for the smallest
            product of both, of those faster than the stock float32 file where there are any. Where
            latencies cannot be told apart, the smallest file wins.
        runtime: Whose latency counts.

    Raises:
        EdgegolfError: There are no candidates.
    """
    good = list(pareto_front(candidates, runtime))
    if not good:
        raise EdgegolfError("there is no candidate to choose from")
    if goal == "balanced":
        good = [c for c in good if c.latency_ratio[runtime] < 1] or good

    def cost(candidate: Candidate) -> float:
        latency = candidate.latency_ratio[runtime]
        return {
            "size": candidate.size_bytes,
            "latency": latency,
            "balanced": candidate.size_bytes * latency,
        }[goal]

    margin = 1.0 if goal == "size" else SAME_LATENCY
    least_cost = min(map(cost, good))
    alike = [candidate for candidate in good if cost(candidate) <= margin * least_cost]
    return min(alike, key=lambda candidate: candidate.size_bytes)


def _costs(candidate: Candidate, runtime: str) -> tuple[float, ...]:
    # The ratio: what slows the machine for a while slows all alike.
    quality = candidate.sqnr if candidate.accuracy is None else candidate.accuracy
    return candidate.size_bytes, candidate.latency_ratio[runtime], -quality
