"""A search as a study of Optuna's, in the same database as the results of the runs.

Each trial is a net that is trained for more and more epochs, as long as it is among the best of
those that came as far: successive halving, without waiting (Li et al. 2020,
https://arxiv.org/abs/1810.05934). Every rung is a run of the sweep's store, so a trial that is
begun again, because its worker died, takes what was finished from there.
"""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import dataclass, field
from typing import Any

from edgegolf.data import Dataset, load_dataset
from edgegolf.errors import EdgegolfError, require
from edgegolf.records import reasons
from edgegolf.search.results import Trial, changes, score
from edgegolf.search.space import Choices, Range, Space
from edgegolf.sweep.runs import RunSpec, SweepRun
from edgegolf.sweep.store import LOCK_SECONDS, Store
from edgegolf.sweep.worker import finish_runs
from edgegolf.zoo import Recipe, with_epochs
from edgegolf.zoo.recipe import Hyper

NEAR = 1.1  # nets whose score is at most this times the best are trained with all seeds
RETRIES = 3  # of a trial whose workers died
REFUSALS_PER_TRIAL = 50  # draws that are no net of the space, after which there seems to be none
# What is kept of a trial: why it is none, why its training failed, its net and results.
REFUSED, FAILED, FACTS = "refused", "failed", "facts"


@dataclass(frozen=True)
class Search:
    """A space with what it is searched on."""

    name: str  # the space's name
    space: Space
    dataset: str  # what `load_dataset` finds
    checksum: str  # of its content

    @property
    def study(self) -> str:
        """The study's name: another one for another space, or another data set."""
        return f"{self.name}-{self.space.fingerprint}-{self.checksum[:12]}"


def open_study(search: Search, store: Store, seed: int = 0, is_made: bool = True) -> Any:
    """The study of a search.

    Args:
        search: Which one.
        store: Whose database it is in.
        seed: What its sampler draws from.
        is_made: Whether it is made where there is none.

    Raises:
        EdgegolfError: Optuna is not installed, the database cannot be used, or there is none.
    """
    optuna = require("optuna", extra="search")
    sql = require("sqlalchemy", extra="train")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    options = {"connect_args": {"timeout": LOCK_SECONDS}} if store.is_local else {}
    stale = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)
    try:
        storage = optuna.storages.RDBStorage(
            store.url,
            engine_kwargs=options,
            heartbeat_interval=max(1, int(store.lease_seconds / 4)),
            grace_period=max(2, int(store.lease_seconds)),
            heartbeat_stale_trial_callback=stale,
        )
        if not is_made and search.study not in optuna.get_all_study_names(storage):
            raise EdgegolfError(
                f"the store {store.shown} has no search of this space on {search.dataset}",
                hint=f"edgegolf search {search.name} begins one",
            )
        return optuna.create_study(
            study_name=search.study,
            storage=storage,
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True),
            pruner=optuna.pruners.SuccessiveHalvingPruner(
                min_resource=1, reduction_factor=search.space.keep
            ),
        )
    except (optuna.exceptions.OptunaError, sql.exc.SQLAlchemyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EdgegolfError(
            f"the store {store.shown} cannot keep a search: {reason}",
            hint="give another file or URL with --store",
        ) from None


def over(study: Any) -> tuple[list[Any], int]:
    """The frozen trials of a study that are over, and how many draws were refused."""
    states = require("optuna", extra="search").trial.TrialState
    found = study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))
    kept = [trial for trial in found if REFUSED not in trial.user_attrs]
    return kept, len(found) - len(kept)


def _begun(study: Any) -> int:
    """How many trials are over or go on."""
    running = require("optuna", extra="search").trial.TrialState.RUNNING
    return len(over(study)[0]) + len(study.get_trials(deepcopy=False, states=(running,)))


def results(study: Any) -> tuple[Trial, ...]:
    """The trials that are over and were trained.

    Raises:
        EdgegolfError: The store is damaged.
    """
    import cattrs
    from cattrs.strategies import configure_union_passthrough

    converter = cattrs.Converter(forbid_extra_keys=True)
    configure_union_passthrough(Hyper, converter)
    complete = require("optuna", extra="search").trial.TrialState.COMPLETE
    known = [trial for trial in over(study)[0] if FACTS in trial.user_attrs]
    try:
        found = [
            {"number": each.number, "is_complete": each.state == complete}
            | json.loads(each.user_attrs[FACTS])
            for each in known
        ]
        return tuple(converter.structure(facts, Trial) for facts in found)
    except (cattrs.BaseValidationError, TypeError, ValueError) as error:
        raise EdgegolfError(
            f"the search {study.study_name} is damaged: {reasons(error)[0]}",
            hint="give another --store",
        ) from None


def search_worker(
    address: str, lease_seconds: float, search: Search, worker: str, threads: int
) -> None:
    """Try nets together with other workers, until as many are over as there are to be.

    Args:
        address: The store's.
        lease_seconds: How long its claims hold, and a trial whose worker died.
        search: What is searched.
        worker: A name that no other worker has.
        threads: Threads of every operation.

    Raises:
        EdgegolfError: The data set is another one here, or the space has no net.
    """
    fail_stale_trials = require("optuna", extra="search").storages.fail_stale_trials
    store = Store(address, lease_seconds)
    try:
        dataset = load_dataset(search.dataset)
        if dataset.checksum != search.checksum:
            raise EdgegolfError(f"the data set {search.dataset} is another one on this machine")
        first = open_study(search, store)
        # A sampler that goes on draws other values than one that began.
        seed = len(first.get_trials(deepcopy=False)) * 1009 + sum(worker.encode())
        study = open_study(search, store, seed)
        attempt = _Attempt(search.space, dataset, store, worker, threads, {dataset.name: dataset})
        while True:
            done, refused = over(study)
            if len(done) >= search.space.trials:
                return
            if refused > REFUSALS_PER_TRIAL * (len(done) + 5):
                raise EdgegolfError(
                    f"the space {search.name} has hardly a net: {refused:,} draws were refused",
                    hint="allow more parameters, or settings that go together",
                )
            if _begun(study) >= search.space.trials:
                time.sleep(lease_seconds / 60)
                fail_stale_trials(study)
            else:
                study.optimize(attempt, n_trials=1)
    finally:
        store.close()


@dataclass(frozen=True)
class _Attempt:
    """What a worker does with a trial: gives its score, or ends it early."""

    space: Space
    dataset: Dataset
    store: Store
    worker: str
    threads: int
    datasets: dict[str, Dataset]
    sizes: dict[str, int] = field(default_factory=dict)  # of files in bytes, by net

    def __call__(self, trial: Any) -> float:
        pruned = require("optuna", extra="search").TrialPruned
        if _begun(trial.study) > self.space.trials:
            trial.set_user_attr(REFUSED, "another worker began the last trial")
            raise pruned
        try:
            recipe = self.space.recipe(draw(self.space, trial))
        except EdgegolfError as error:
            trial.set_user_attr(REFUSED, error.message)
            raise pruned from None
        found: list[SweepRun] = []
        for rung, epochs in enumerate(self.space.epochs):
            shorter = with_epochs(recipe, epochs)
            if (result := self._run(shorter, 0)) is None:
                trial.set_user_attr(FAILED, self._failure(shorter))
                raise pruned
            found, value = [result], self._note(trial, shorter, [result])
            if epochs != self.space.epochs[-1]:
                # The pruner counts rungs in powers of how many go on.
                trial.report(value, self.space.keep**rung)
                if trial.should_prune():
                    raise pruned
        if value <= NEAR * self._best(trial.study):
            more = (self._run(recipe, seed) for seed in range(1, self.space.seeds))
            found += [result for result in more if result is not None]
            value = self._note(trial, recipe, found)
        return value

    def _best(self, study: Any) -> float:
        complete = require("optuna", extra="search").trial.TrialState.COMPLETE
        trials = study.get_trials(deepcopy=False, states=(complete,))
        return min((trial.value for trial in trials), default=float("inf"))

    def _run(self, recipe: Recipe, seed: int) -> SweepRun | None:
        """The result of a run, from the store or trained now; None where it failed."""
        run = self._spec(recipe, seed)
        if not self.store.results([run]):
            finish_runs(self.store, [run], self.worker, self.threads, self.datasets)
        return next(iter(self.store.results([run])), None)

    def _bytes(self, net: str) -> int:
        from edgegolf.search.costs import file_bytes

        if net not in self.sizes:
            self.sizes[net] = file_bytes(net, self.dataset)
        return self.sizes[net]

    def _failure(self, recipe: Recipe) -> str:
        return next(iter(self.store.failures([self._spec(recipe, 0)])), "")

    def _spec(self, recipe: Recipe, seed: int) -> RunSpec:
        name, checksum = self.dataset.name, self.dataset.checksum
        return RunSpec(recipe.name, recipe.training, name, checksum, seed, tests=False)

    def _note(self, trial: Any, recipe: Recipe, runs: list[SweepRun]) -> float:
        """Keep what is known of a trial with it; its score."""
        accuracies = [run.validation_accuracy for run in runs]
        costs = {"parameters": runs[0].parameters, "macs": runs[0].macs}
        if self.space.minimize == "bytes":
            costs["bytes"] = self._bytes(recipe.name)
        facts = {
            "net": recipe.name,
            "training": changes(recipe.name, recipe.training),
            "epochs": recipe.training.epochs,
            "accuracies": accuracies,
            **costs,
        }
        trial.set_user_attr(FACTS, json.dumps(facts))
        return score(costs[self.space.minimize], accuracies, self.space.target)


def draw(space: Space, trial: Any) -> dict[str, Hyper]:
    """A value for every dimension of a space, as a trial of Optuna's suggests it."""

    def value(name: str, dimension: Choices | Range) -> Hyper:
        if isinstance(dimension, Choices):
            if len(dimension.values) == 1:
                return dimension.values[0]
            found: Hyper = trial.suggest_categorical(name, dimension.values)
            return found
        low, high, log = dimension.low, dimension.high, dimension.log
        if dimension.is_whole:
            return int(trial.suggest_int(name, low, high, step=dimension.step, log=log))
        return float(trial.suggest_float(name, low, high, log=log))

    return {name: value(name, each) for name, each in space.dimensions.items()}
