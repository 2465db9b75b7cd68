"""A search from its space to what it found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgegolf.data import Dataset
from edgegolf.errors import EdgegolfError
from edgegolf.search.results import SearchResults, Trial, finished
from edgegolf.search.space import Space
from edgegolf.search.study import FAILED, Search, open_study, over, results, search_worker
from edgegolf.surroundings import available_cores
from edgegolf.sweep.cluster import run_on_cluster
from edgegolf.sweep.pool import run_workers
from edgegolf.sweep.store import Store


def run_search(
    search: Search,
    store: Store,
    jobs: int | None,
    cluster: str | None,
    report: Callable[[int, Sequence[Trial]], None],
) -> None:
    """Do what of a search is not done yet.

    Args:
        search: What to search.
        store: Where the runs and the study are, and go.
        jobs: How many workers; None for one per core.
        cluster: The address of a Ray cluster; None for processes of this machine.
        report: Called with the number of trials that are over, and those that are new.

    Raises:
        EdgegolfError: Optuna is not installed, or every worker died.
        KeyboardInterrupt: The workers are stopped; the same call goes on.
    """
    study = open_study(search, store)
    seen: set[int] = set()
    finished(results(study), seen)
    done = len(over(study)[0])
    report(done, ())
    left = search.space.trials - done

    def look() -> None:
        if fresh := finished(results(study), seen):
            report(len(over(study)[0]), fresh)

    if left > 0 and cluster is None:
        most = min(jobs or available_cores(), left)
        run_workers(store, search_worker, search, most, 1, look)
    elif left > 0 and cluster is not None:
        run_on_cluster(store, search_worker, search, min(jobs or left, left), cluster, look)
    look()
    failures = [trial.user_attrs[FAILED] for trial in over(study)[0] if FAILED in trial.user_attrs]
    if failures and not seen:
        raise EdgegolfError(f"no net could be trained: {failures[-1]}")


def results_of(search: Search, store: Store) -> SearchResults:
    """What is known of a search.

    Raises:
        EdgegolfError: It was not begun in this store.
    """
    study, space = open_study(search, store, is_made=False), search.space
    return SearchResults(
        name=search.name,
        title=space.title,
        dataset=search.dataset,
        target=space.target,
        minimize=space.minimize,
        expected=space.trials,
        refused=over(study)[1],
        trials=results(study),
    )


def load_search(
    name: str,
    space: Space,
    dataset: Dataset,
    target: float | None,
    minimize: str | None,
    trials: int | None,
) -> Search:
    """A search of a space on a data set; what is given stands for what the file says.

    Raises:
        EdgegolfError: The target is none.
    """
    if target is not None and not 0 < target < 1:
        raise EdgegolfError("the target is an accuracy between 0 and 1", hint="--target 98%")
    chosen = replace(
        space,
        target=target or space.target,
        minimize=minimize or space.minimize,
        trials=trials or space.trials,
    )
    return Search(Path(name).stem, chosen, dataset.name, dataset.checksum)
