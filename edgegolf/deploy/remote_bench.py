"""Benchmarks on other machines: the same results as here, measured there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from edgegolf.bench.accuracy import dataset_of
from edgegolf.bench.bench import BenchOptions
from edgegolf.bench.result import BenchResult
from edgegolf.data import DatasetUnavailableError, load_dataset
from edgegolf.deploy.connection import Connection
from edgegolf.deploy.contents import Content, content_of_file
from edgegolf.deploy.deploy import send_tree
from edgegolf.deploy.device import check, probe, warnings
from edgegolf.deploy.environment import ensure_environment
from edgegolf.deploy.host import Host
from edgegolf.deploy.models import ModelFile, Tree, arrange, digest
from edgegolf.deploy.wheels import requires_python
from edgegolf.errors import EdgegolfError, printable, printable_values
from edgegolf.progress import doing, say
from edgegolf.records import list_from_json
from edgegolf.runtimes.registry import find_runtime


@dataclass(frozen=True)
class _Bench:
    """A device that is ready to measure, and the command's name there."""

    connection: Connection
    environment: str
    tree: Tree
    data: Tree
    arguments: list[str]

    @property
    def command(self) -> str:
        """The same for the same command, so that a rerun finds what was measured before."""
        names = [model.name for model in self.tree.models]
        trees = [self.tree.identifier, self.data.identifier]
        return digest([self.connection.host.name, self.environment, trees, names, self.arguments])


def bench_on(
    hosts: Sequence[Host], paths: Iterable[Path], options: BenchOptions
) -> tuple[BenchResult, ...]:
    """Measure model files on other machines; results of one file stand side by side.

    Every machine is made ready before the first measurement. A run that was interrupted goes on
    when it is started again: each device keeps the results of finished files until then.

    Args:
        hosts: The machines.
        paths: `.tflite` and `.onnx` files.
        options: What to measure.

    Raises:
        EdgegolfError: A machine cannot be reached or used, or the options make no sense.
    """
    for runtime in options.runtimes:
        find_runtime(runtime)
    tree = arrange(paths)
    data = _data_files(tree, options)
    with ExitStack() as stack:
        benches = []
        for host in hosts:
            connection = stack.enter_context(Connection(host))
            benches.append(_prepare(connection, tree, data, options))
        results = [list(_measure(bench)) for bench in benches]
        for bench in benches:
            bench.connection.ask("forget_results", command=bench.command)
    return tuple(_side_by_side(results, [model.path for model in tree.models]))


def _data_files(tree: Tree, options: BenchOptions) -> Tree:
    """The files of the data sets that accuracy is measured on, as the device looks for them."""
    names = {options.accuracy or dataset_of(model.path) for model in tree.models} - {None}
    files: dict[str, Content] = {}
    for name in sorted(filter(None, names)):
        try:
            dataset = load_dataset(name)
        except DatasetUnavailableError:
            continue  # the device may have it, or says that accuracy is not measured
        for path in dataset.files:
            files[f"{name}/{path.name}"] = content_of_file(path)
    return Tree((), files)


def _prepare(connection: Connection, tree: Tree, data: Tree, options: BenchOptions) -> _Bench:
    device = probe(connection)
    suffixes = {model.path.suffix for model in tree.models}
    check(device, str(connection.host), requires_python(), suffixes)
    for warning in warnings(device):
        say(f"{connection.host}: {warning}")
    environment = ensure_environment(connection, device, None)
    send_tree(connection, tree)
    send_tree(connection, data)
    return _Bench(connection, environment, tree, data, _arguments(options))


def _arguments(options: BenchOptions) -> list[str]:
    return [
        *("--json", "--min-time", f"{options.min_time:g}"),
        *("--provider", ",".join(options.providers)),
        *("--threads", ",".join(map(str, options.threads))),
        *(("--runtime", ",".join(options.runtimes)) if options.runtimes else ()),
        *(("--accuracy", options.accuracy) if options.accuracy else ()),
        *(() if options.cpu is None else ("--cpu", str(options.cpu))),
        *(("--energy",) if options.energy else ()),
    ]


def _measure(bench: _Bench) -> Iterator[BenchResult]:
    host, total = bench.connection.host, len(bench.tree.models)
    kept = 0
    for number, model in enumerate(bench.tree.models):
        with doing(f"measuring on {host}: {model.path} ({number + 1} of {total})") as tell:
            answer = bench.connection.ask(
                "bench",
                tell=tell,
                command=bench.command,
                number=number,
                environment=bench.environment,
                tree=bench.tree.identifier,
                data=bench.data.identifier if bench.data.files else None,
                subject=model.name,
                arguments=["edgegolf", "bench", model.name, *bench.arguments],
            )
        kept += answer.get("kept") is True
        yield from _results(answer.get("output"), model, host)
    if kept:
        say(f"{host}: {kept} of {total} files were measured before the run was interrupted")


def _results(output: object, model: ModelFile, host: Host) -> Iterator[BenchResult]:
    """The results in what the device printed, which may be anything."""
    source = f"what {host} measured for {model.name}"
    try:
        text = json.dumps(printable_values(json.loads(str(output))))
    except (ValueError, RecursionError):
        said = printable(output)[:200]
        raise EdgegolfError(f"{source} is not JSON: {said}") from None
    for result in list_from_json(text, BenchResult, source):
        yield replace(result, file=str(model.path), machine=str(host))


def _side_by_side(
    results: Sequence[Sequence[BenchResult]], paths: Sequence[Path]
) -> Iterator[BenchResult]:
    """Results of each machine, so ordered that those of the same kind of row are neighbours."""
    rows = dict.fromkeys(
        (str(path), result.runtime, result.provider, result.threads)
        for path in paths
        for found in results
        for result in found
        if result.file == str(path)
    )
    for row in rows:
        for found in results:
            for result in found:
                if (result.file, result.runtime, result.provider, result.threads) == row:
                    yield result
