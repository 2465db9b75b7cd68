"""An epoch with compiled gradients beside Keras: benchmarks/trainers.json, docs/train.md.

    python benchmarks/trainers.py [NET...] [--rounds 5]

Both trainers of a net live in one process, on one core, and take turns of a few batches, so that
what else the machine does meets both alike. CPU seconds of the fastest turn count: what others do
on a machine makes turns longer, never shorter. What it takes to start (imports, compiling) is told
apart.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import time
from pathlib import Path

from edgegolf.files import write_atomically
from edgegolf.report.table import Table

RECORD = Path(__file__).with_name("trainers.json")
NETS = ("fewest_parameters", "tight_resnet", "uno_resnet", "cnn:2", "double_cnn:2")
BATCHES = 20  # of a turn
IMAGES = 55_000  # of an epoch of MNIST
SEARCH_EPOCHS = 10  # of a candidate in a search


def main() -> None:
    """Measure all, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", default=NETS)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    found = json.loads(RECORD.read_text()) if RECORD.exists() else {"nets": {}}
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    context = multiprocessing.get_context("spawn")
    for net in arguments.nets:
        here, there = context.Pipe()
        process = context.Process(target=measure, args=(net, arguments.rounds, there), daemon=True)
        process.start()
        found["nets"][net] = here.recv()
        process.join()
        print(net, found["nets"][net], flush=True)
    found["machine"] = _processor()
    write_atomically(RECORD, json.dumps(found, indent=1) + "\n")
    print(trainers_markdown())


def measure(net: str, rounds: int, answers: multiprocessing.connection.Connection) -> None:
    """Send the CPU seconds of an epoch by trainer, and those that C takes to compile."""
    from edgegolf.data import load_dataset
    from edgegolf.training.compiled import CompiledTrainer
    from edgegolf.training.trainer import Trainer
    from edgegolf.zoo import find_recipe

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    recipe, dataset = find_recipe(net), load_dataset("mnist")
    keras = Trainer(recipe, dataset, 0, 1)
    began = sum(os.times()[:4])
    compiled = CompiledTrainer(recipe, dataset, 0, 1)
    starting = sum(os.times()[:4]) - began
    turns: dict[str, list[float]] = {keras.kind: [], compiled.kind: []}
    for turn in range(rounds + 1):
        for trainer in (keras, compiled):
            began = time.process_time()
            images, targets = trainer._batches.epoch(turn)
            epoch = time.process_time() - began
            began = time.process_time()
            trainer._steps(images[:BATCHES], targets[:BATCHES])
            steps = (time.process_time() - began) * len(images) / BATCHES
            if turn:  # the first one warms up
                turns[trainer.kind].append(epoch + steps)
    seconds = {kind: round(min(taken), 3) for kind, taken in turns.items()}
    answers.send({**seconds, "starting": round(starting, 1), "parameters": recipe.parameters})


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def trainers_markdown() -> str:
    """The record as a table."""
    record = json.loads(RECORD.read_text())
    rows = []
    for net, found in record["nets"].items():
        before = SEARCH_EPOCHS * found["keras"]
        candidate = SEARCH_EPOCHS * found["compiled"] + found["starting"]
        rows.append(
            (
                f"`{net}`", f"{found['parameters']:,}", f"{found['keras']:.2f} s",
                f"{found['compiled']:.2f} s", f"{found['keras'] / found['compiled']:.1f}",
                f"{3600 / before:.0f}", f"{3600 / candidate:.0f}",
            )
        )  # fmt: skip
    header = (
        "net",
        "parameters",
        "Keras",
        "compiled",
        "ratio",
        "Keras per hour",
        "compiled per hour",
    )
    machine = f'On one core of {record["machine"]}; "per hour" are trainings of'
    return f"{Table(header, tuple(rows)).markdown()}\n{machine} {SEARCH_EPOCHS} epochs.\n"


if __name__ == "__main__":
    main()
