"""How fast sweeps train tiny nets, beside plain `model.fit`, on all cores.

python benchmarks/sweep_speed.py [NET...] [--rounds 3]

Plain `fit` as anybody writes it: TensorFlow as it comes, one net after the other with all cores,
batches of 128 from an array. Ours as a sweep trains: one process per core, each with a net of its
own. Both are warm; the two take turns, so that what else the machine does meets both alike. Prints
images per second of the whole machine and their ratio.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from multiprocessing.connection import Connection

BATCH = 128
STEPS = 429  # an epoch of MNIST's training split
NETS = ("linear", "pooled_mlp:16", "random_cnn", "double_cnn:1", "double_cnn:2", "double_cnn:4",
        "double_cnn:8", "cnn:2", "tight_resnet")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", default=NETS)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{'net':16}{'plain fit':>12}{'sweep':>12}{'ratio':>8}   images/s, {cores} cores")
    for net in arguments.nets:
        plain, fast = compare(net, cores, arguments.rounds)
        print(f"{net:16}{plain:12,.0f}{fast:12,.0f}{fast / plain:8.2f}", flush=True)


def compare(net: str, cores: int, rounds: int) -> tuple[float, float]:
    """Median images per second of plain fit, and of one fast trainer per core together."""
    context = multiprocessing.get_context("spawn")
    sides = []
    for target, count in ((plain_fit, 1), (fast_loop, cores)):
        workers = []
        for _ in range(count):
            here, there = context.Pipe()
            process = context.Process(target=target, args=(net, there), daemon=True)
            process.start()
            workers.append((here, process))
        sides.append(workers)
    try:
        for workers in sides:  # each warms up alone
            one_round(workers)
        rates: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for workers, found in zip(sides, rates, strict=True):
                found.append(len(workers) * STEPS * BATCH / one_round(workers))
    finally:
        for workers in sides:
            for _, process in workers:
                process.terminate()
    return statistics.median(rates[0]), statistics.median(rates[1])


def one_round(workers: list) -> float:
    """Seconds until every worker has done its steps."""
    started = time.perf_counter()
    for connection, _ in workers:
        connection.send(None)
    for connection, _ in workers:
        connection.recv()
    return time.perf_counter() - started


def plain_fit(net: str, connection: Connection) -> None:
    """Keras as anybody uses it."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    from edgegolf.data import load_dataset
    from edgegolf.zoo import find_recipe

    dataset = load_dataset("mnist")
    split = dataset.split("train")
    images = split.images[: STEPS * BATCH].astype("float32") / 255
    labels = split.labels[: STEPS * BATCH]
    model = find_recipe(net).build(dataset.image_shape, dataset.classes)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    while True:
        connection.recv()
        model.fit(images, labels, batch_size=BATCH, verbose=0)
        connection.send(None)


def fast_loop(net: str, connection: Connection) -> None:
    """What a sweep does, with its augmentation and its averaging."""
    from edgegolf.data import load_dataset
    from edgegolf.training.trainer import Position, Trainer
    from edgegolf.zoo import find_recipe

    trainer = Trainer(find_recipe(net), load_dataset("mnist"), seed=0, threads=1)
    epoch = 0
    while True:
        connection.recv()
        trainer.train_epoch(Position(epoch), lambda _: None)
        epoch += 1
        connection.send(None)


if __name__ == "__main__":
    main()
