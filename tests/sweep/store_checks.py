"""What every kind of store has to do."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter

from sweep_cases import some_costs, some_result, some_runs

from edgegolf.sweep.store import Store


def check_life_of_a_run(address: str) -> None:
    """Claimed once, finished once, found again by another connection."""
    store, other = Store(address), Store(address)
    runs = some_runs(2)
    first = store.claim(runs, "a")
    second = other.claim(runs, "b")
    assert (first, second) == runs
    assert other.claim(runs, "c") is None
    assert not other.finish(runs[0], "b", some_result(runs[0], 0.1))
    assert store.results(runs) == ()
    assert store.finish(runs[0], "a", some_result(runs[0], 0.9))
    assert not store.finish(runs[0], "a", some_result(runs[0], 0.1))
    assert other.results(runs) == (some_result(runs[0], 0.9),)
    assert other.unfinished(runs) == (runs[1],)
    other.release(["b"])
    assert store.claim(runs, "a") == runs[1]
    store.fail(runs[1], "a", "out of luck")
    assert store.claim(runs, "b") is None
    assert store.failures(runs) == ("linear seed 1: out of luck",)
    store.forget_failures(runs)
    assert store.claim(runs, "b") == runs[1]
    store.close()
    other.close()


def check_take_over(address: str) -> None:
    """A claim that is renewed holds; one that is not is another's after its lease."""
    store = Store(address, lease_seconds=0.5)
    runs = some_runs(1)
    assert store.claim(runs, "a") == runs[0]
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        assert store.renew(runs[0], "a")
        assert store.claim(runs, "b") is None
        time.sleep(0.05)
    while store.claim(runs, "b") is None:
        time.sleep(0.05)
    assert not store.renew(runs[0], "a")
    assert not store.finish(runs[0], "a", some_result(runs[0], 0.1))
    assert store.finish(runs[0], "b", some_result(runs[0], 0.9))
    assert store.results(runs) == (some_result(runs[0], 0.9),)
    store.close()


def check_costs(address: str) -> None:
    """Files are kept once for each net and data set; the first figures stay."""
    store, other = Store(address), Store(address)
    linear, pooled = some_costs("linear", 100), some_costs("pooled_linear", 50)
    store.add_costs(linear)
    store.add_costs(pooled)
    other.add_costs(some_costs("linear", 1))
    assert other.costs(["pooled_linear", "linear"], "digits") == (*linear, *pooled)
    assert other.costs(["linear"], "mnist") == ()
    assert other.costs(["mlp:32"], "digits") == ()
    store.close()
    other.close()


def check_racing_workers(address: str) -> None:
    """Four processes that claim at once never get the same run."""
    count = 40
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        claimed = pool.starmap(claim_all, [(address, count, f"worker-{i}") for i in range(4)])
    seeds = Counter(seed for seeds in claimed for seed in seeds)
    assert seeds == Counter(range(count))
    store = Store(address)
    assert len(store.results(some_runs(count))) == count
    store.close()


def claim_all(address: str, count: int, worker: str) -> list[int]:
    store = Store(address)
    runs = some_runs(count)
    seeds = []
    while (run := store.claim(runs, worker)) is not None:
        seeds.append(run.seed)
        assert store.finish(run, worker, some_result(run))
    store.close()
    return seeds
