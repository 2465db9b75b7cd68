"""The command line: one verb per room, no logic of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edgegolf.errors import EdgegolfError, unknown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgegolf.export.publish import Published

BAD_INPUT = 2
GATE_FAILED = 1
INTERRUPTED = 130  # 128 + SIGINT, as shells count


def device_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how to reach a device, and what to use there."""
    options = (
        click.option("--port", type=click.IntRange(1, 65535), help="Of the device's SSH server."),
        click.option(
            "--key", type=click.Path(path_type=Path), help="Private key; else as ssh would."
        ),
        click.option("--dir", "folder", help="Folder there.  [default: ~/.local/share/edgegolf]"),
        click.option("--python", help="Python there.  [default: python3]"),
    )
    for option in reversed(options):
        command = option(command)
    return command


class Paragraphs(click.Group):
    """A group whose verbs are listed in the order of the work, not of the alphabet."""

    def list_commands(self, context: click.Context) -> list[str]:
        """The verbs in the order in which they are defined."""
        return list(self.commands)

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that is meant, or an error that suggests one."""
        verb = arguments[0]
        if verb not in self.commands and not verb.startswith("-"):
            raise unknown(f"there is no verb {verb!r}", verb, self.commands)
        return super().resolve_command(context, arguments)


class Resumable(click.Command):
    """A verb that goes on where it was when it is interrupted and run again."""

    def invoke(self, context: click.Context) -> Any:
        """Run the verb, and tell so where it is interrupted."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            raise click.Abort("run it again to go on") from None


@click.group(cls=Paragraphs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edgegolf")
def cli() -> None:
    """Edge deployment for code-golfed neural networks.

    \b
    edgegolf zoo                     the nets
    edgegolf train tight_resnet      train one from scratch
    edgegolf export tight_resnet     float and int8 TFLite and ONNX files of it
    edgegolf bench tight_resnet      size, memory, latency, accuracy of its files
    edgegolf deploy pi@raspberrypi.local tight_resnet
    edgegolf demo                    draw digits, let the nets guess
    """


@cli.command()
@click.argument("net", required=False)
def zoo(net: str | None) -> None:
    """List the nets, or show the layers of one.

    \b
    edgegolf zoo
    edgegolf zoo cnn:2
    """
    from edgegolf.report.zoo_table import layer_table, zoo_table
    from edgegolf.zoo import CLASSES, all_recipes, find_recipe
    from edgegolf.zoo.summary import summarize

    if net is None:
        _print(zoo_table(all_recipes()))
        return
    recipe = find_recipe(net)
    from edgegolf.quiet import import_keras

    import_keras()
    _print(f"{recipe.name}: {recipe.summary}. From: {recipe.article.title}.")
    _print(layer_table(summarize(recipe.build(recipe.image_shape, CLASSES))))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def data(as_json: bool) -> None:
    """List the data sets: where each is, its checksum, its licence.

    \b
    edgegolf data
    edgegolf data --json
    """
    from edgegolf.data import list_datasets
    from edgegolf.progress import Work
    from edgegolf.report.data_table import data_table

    with Work("checking the data sets"):
        statuses = list_datasets()
    if as_json:
        _print_json(statuses)
    else:
        _print(data_table(statuses))


@cli.command(cls=Resumable)
@click.argument("nets", nargs=-1, metavar="[NET]...")
@click.option("--dataset", help="Data set; what the nets are made for, or what stands in for it.")
@click.option("--epochs", type=click.IntRange(1), help="Instead of the recipe's.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="First seed.")
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True, help="How many seeds."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results of one net.")
@click.option("--processes", type=click.IntRange(1), help="Runs side by side; one per core.")
@click.option("--fresh", is_flag=True, help="Forget finished and interrupted runs.")
@click.option(
    "--replace", is_flag=True, help="Replace a model that was trained otherwise, or better."
)
def train(
    nets: tuple[str, ...],
    dataset: str | None,
    epochs: int | None,
    seed: int,
    seeds: int,
    out: Path | None,
    processes: int | None,
    fresh: bool,
    replace: bool,
) -> None:
    """Train nets from scratch: all small ones if none is named.

    Run it again to go on after an interruption: finished runs are kept. What is trained with
    other epochs or data than the model that is there goes to a folder below trials/.

    \b
    edgegolf train
    edgegolf train tight_resnet --seeds 3
    edgegolf train cnn:2 --epochs 4 --out /tmp/cnn
    """
    from edgegolf.data import load_dataset
    from edgegolf.report.training_display import TrainingDisplay, trained_line
    from edgegolf.training import train_nets
    from edgegolf.zoo import default_names, usual_dataset

    if out is not None and len(nets) != 1:
        raise click.UsageError("--out goes with exactly one net")
    found = load_dataset(dataset, usual=usual_dataset(nets))
    chosen = nets or default_names(found.image_shape)
    firsts = range(seed, seed + seeds)
    _say(f"Training on {found.name} from {found.location}.")
    with TrainingDisplay() as display:
        trained = train_nets(
            chosen, found.name, firsts, epochs, out, processes, fresh, replace, display.report
        )
    for each in trained:
        _say(trained_line(each))


@cli.command(cls=Resumable)
@click.argument("sweep", metavar="NAME|FILE.toml")
@click.option("--dataset", help="Data set; what the nets are made for, or what stands in for it.")
@click.option("--seeds", type=click.IntRange(1), help="How many, instead of the file's number.")
@click.option("--jobs", type=click.IntRange(1), help="Runs side by side; one per core.")
@click.option("--resume", is_flag=True, help="Go on with a sweep; an error if it was not begun.")
@click.option("--store", help="File or postgresql://… URL of the results.")
@click.option("--cluster", help="Ray cluster that does the runs, such as ray://host:10001.")
@click.option(
    "--costs",
    is_flag=True,
    help="Train nothing: make the files of every net and time them, on an idle machine.",
)
@click.option("--table", "form", flag_value="table", help="Run nothing: show what is there.")
@click.option("--json", "form", flag_value="json", help="Likewise, schema edgegolf.sweep/1.")
@click.option("--csv", "form", flag_value="csv", help="Likewise, one line per run.")
@click.option("--markdown", "form", flag_value="markdown", help="Likewise, as Markdown tables.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write there instead.")
@click.option("--picture", type=click.Path(path_type=Path), help="Draw it: .svg or .png.")
def sweep(
    sweep: str,
    dataset: str | None,
    seeds: int | None,
    jobs: int | None,
    resume: bool,
    store: str | None,
    cluster: str | None,
    costs: bool,
    form: str | None,
    output: Path | None,
    picture: Path | None,
) -> None:
    """Train nets over sizes, settings and seeds, no run twice.

    Every result is kept. Run it again to go on after an interruption, or with more seeds.

    \b
    edgegolf sweep double_cnn
    edgegolf sweep double_cnn --seeds 5
    edgegolf sweep double_cnn --table
    edgegolf sweep tight_resnet --costs
    edgegolf sweep my.toml --cluster ray://host:10001 --store postgresql://u@h/s
    """
    from edgegolf.data import load_dataset
    from edgegolf.records import to_json
    from edgegolf.report.pictures import draw_sweep
    from edgegolf.report.sweep_table import sweep_csv, sweep_markdown, sweep_tables
    from edgegolf.report.training_display import report_sweep
    from edgegolf.sweep import Store, load_sweep, nets_of, results_of, run_sweep
    from edgegolf.workspace import user_store
    from edgegolf.zoo import usual_dataset

    data = load_dataset(dataset, usual=usual_dataset(nets_of(sweep)))
    loaded = load_sweep(sweep, data, seeds)
    opened = Store(store or str(user_store()))
    if costs:
        from edgegolf.footprint.sweep_costs import measure_sweep

        measure_sweep(loaded, data, opened)
    elif form is None:
        _say(f"{loaded.title}. {len(loaded.runs)} runs on {loaded.dataset}; in {opened.shown}.")
        with report_sweep(len(loaded.runs)) as report:
            run_sweep(loaded, opened, jobs, cluster, resume, report)
    results = results_of(loaded, opened)
    if picture is not None:
        draw_sweep(results, picture)
    texts = {"json": to_json, "csv": sweep_csv, "markdown": sweep_markdown}
    if form in texts:
        _write(texts[form](results), output, form)
    else:
        if output is not None:
            _write(to_json(results), output)
        _print(*sweep_tables(results))


@cli.command(cls=Resumable)
@click.argument("net")
@click.option("--dataset", help="Data set; what the net is made for, or what stands in for it.")
@click.option("--epochs", type=click.IntRange(1), help="Of each idea, instead of the file's.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="How many.")
@click.option("--jobs", type=click.IntRange(1), help="Runs side by side; one per core.")
@click.option("--store", help="File or postgresql://… URL of the results.")
@click.option("--table", "form", flag_value="table", help="Run nothing: show what is there.")
@click.option("--json", "form", flag_value="json", help="Likewise, schema edgegolf.ablation/1.")
@click.option("--markdown", "form", flag_value="markdown", help="Likewise, as a Markdown table.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write there instead.")
def ablate(
    net: str,
    dataset: str | None,
    epochs: int | None,
    seeds: int,
    jobs: int | None,
    store: str | None,
    form: str | None,
    output: Path | None,
) -> None:
    """Train a net without each part of its recipe, to tell its worth.

    Also as its article did. Run it again to go on after an interruption: results are kept, as
    those of sweeps.

    \b
    edgegolf ablate tencnn
    edgegolf ablate loop_resnet --epochs 8 --seeds 3
    """
    from edgegolf.data import load_dataset
    from edgegolf.records import to_json
    from edgegolf.report.ablation_table import ablation_markdown, ablation_table
    from edgegolf.report.training_display import report_sweep
    from edgegolf.sweep import Store, run_sweep
    from edgegolf.sweep.ablation import ablation_results, load_ablation, read_ablation
    from edgegolf.workspace import user_store

    definition = read_ablation(net)
    found = load_dataset(dataset, usual=definition.dataset)
    ablation = load_ablation(net, definition, found, epochs, seeds)
    opened = Store(store or str(user_store()))
    if form is None:
        runs = ablation.sweep.runs
        _say(f"{definition.title} {len(runs)} runs on {found.name}; in {opened.shown}.")
        with report_sweep(len(runs)) as report:
            run_sweep(ablation.sweep, opened, jobs, None, False, report)
    results = ablation_results(ablation, opened)
    texts = {"json": to_json, "markdown": ablation_markdown}
    if form in texts:
        _write(texts[form](results), output, form)
    else:
        if output is not None:
            _write(to_json(results), output)
        _print(ablation_table(results))


@cli.command(cls=Resumable)
@click.argument("models", nargs=-1, metavar="[NET|MODEL.keras]...")
@click.option("--dataset", help="Data set; what the nets are made for, or what stands in for it.")
@click.option("--formats", default="tflite,onnx", show_default=True, help="What to write.")
@click.option(
    "--dtype",
    default="float32,int8",
    show_default=True,
    help="What to write: float32, float16, int8, int4 or int2.",
)
@click.option(
    "--calibration-images",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    help="Training images that the int8 scales are chosen on.",
)
@click.option(
    "--calibration-data",
    help="Samples of a model of your own: an .npz or .npy file, a folder of images, or a Python "
    "function, my.py:samples.",
)
@click.option(
    "--optimize",
    type=click.Choice(["size", "latency", "balanced"]),
    help="What the int8 files are chosen for; the best for each is kept by default.",
)
@click.option(
    "--quick", is_flag=True, help="No search and no fine-tuning: seconds, and larger int8 files."
)
@click.option(
    "--input-shape",
    multiple=True,
    help="Sizes that the model leaves open, without the batch: 28,28,1, or NAME:28,28,1.",
)
@click.option("--portable", is_flag=True, help=".onnx files that OpenVINO reads, too.")
@click.option("--max-drop", default="0.5%", show_default=True, help="Accuracy a file may lose.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Samples.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for a .keras file's files.")
@click.option(
    "--emulate",
    type=click.Choice(["aarch64"]),
    help="Then find out which file to take on Raspberry Pis, by counting instructions.",
)
def export(
    models: tuple[str, ...],
    dataset: str | None,
    formats: str,
    dtype: str,
    calibration_images: int,
    calibration_data: str | None,
    optimize: Literal["size", "latency", "balanced"] | None,
    portable: bool,
    quick: bool,
    input_shape: tuple[str, ...],
    max_drop: str,
    batch: int,
    out: Path | None,
    emulate: str | None,
) -> None:
    """Export any model as float and int8 TFLite and ONNX files.

    A model is a net, a .keras, .h5, .onnx or .tflite file, or a SavedModel's folder. Every file
    is run and compared with the model before it gets its name. Without arguments: every trained
    net; files that are up to date are not made again.

    \b
    edgegolf export
    edgegolf export tight_resnet --formats tflite --dtype int8
    edgegolf export models/mnist/pooled_linear/model.keras --out made
    edgegolf export my.keras --calibration-data samples.npz --out exported
    edgegolf export torch.onnx --calibration-data samples.npz --quick
    edgegolf export tight_resnet --emulate aarch64
    """
    from edgegolf.bench.gate import parse_fraction
    from edgegolf.bench.quick import latencies_in_turns
    from edgegolf.data import load_dataset
    from edgegolf.emulation.choice import note_choices
    from edgegolf.emulation.instructions import count_instructions
    from edgegolf.export import ExportOptions
    from edgegolf.export.model_source import is_model, parse_shapes
    from edgegolf.export.publish import publish_all, publish_files
    from edgegolf.progress import Work
    from edgegolf.report.candidates_table import candidates_table
    from edgegolf.report.choice_lines import choice_lines
    from edgegolf.report.export_table import export_table
    from edgegolf.report.models_table import models_table
    from edgegolf.runtimes.registry import preferred_runtime
    from edgegolf.workspace import exported_files, net_folders, trained_folders, trial_folders
    from edgegolf.zoo import usual_dataset

    options = ExportOptions(
        formats=tuple(formats.split(",")),
        dtypes=tuple(dtype.split(",")),
        calibration_images=calibration_images,
        max_drop=parse_fraction(max_drop),
        batch=batch,
        goal=optimize,
        portable=portable,
        quick=quick,
        input_shapes=parse_shapes(input_shape),
    )

    def show_published(name: Path, published: Published) -> None:
        for file_format, candidates in published.candidates.items():
            _print(candidates_table(candidates, f"{name}: {file_format} candidates"))
        for sentence in published.notes:
            _say(f"{name}: {sentence}")
        if not published.made and not published.failures:
            _say(f"{name}: its files are up to date")

    files = [Path(model) for model in models if is_model(model)]
    failed = False
    if files:
        with closing(publish_files(files, out, dataset, calibration_data, options)) as ready:
            for file, published in ready:
                show_published(file, published)
                if published.made:
                    _print(export_table(published.made, title=str(file)))
                for name, error in published.failures.items():
                    _say(f"✗ {name}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
                    failed = True
                if emulate is not None:
                    made = [published.folder / each.name for each in published.made]
                    _print("\n".join(choice_lines(count_instructions(made, emulate))))
    nets = [model for model in models if not is_model(model)]
    if files and not nets:
        if failed:
            raise SystemExit(1)
        return
    found = load_dataset(dataset, usual=usual_dataset(nets))
    folders = [folder for net in nets for folder in net_folders(found.name, net)]
    if not nets:
        folders = [*trained_folders(found.name), *trial_folders(found.name)]
    if not folders:
        raise EdgegolfError(
            f"no net is trained on {found.name} yet", hint="edgegolf train trains some"
        )
    cards = {}
    with closing(publish_all(folders, found, options)) as ready:
        for folder, published in ready:
            show_published(folder, published)
            cards[folder] = published.card
    paths = [path for folder in folders for path in exported_files(folder)]
    runs = [(path, preferred_runtime(path)) for path in paths]
    with Work("timing the files"):
        latencies = latencies_in_turns(runs, found.split("validation").images[:1])
    by_path = {path: latency for (path, _), latency in latencies.items()}
    _print(models_table([card for folder in folders if (card := cards[folder])], by_path))
    if emulate is not None:
        counted = count_instructions(paths, emulate)
        for folder in folders:
            note_choices(folder, counted)
        _print("\n".join(choice_lines(counted)))


@cli.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE|NET...")
@click.option("--dataset", help="Where to look for a net's files: models/DATASET/NET.")
@click.option(
    "--runtime", "runtimes", help="Of litert,litert-reference,tflite-runtime,onnxruntime."
)
@click.option("--provider", default="cpu", show_default=True, help="Of cpu,cuda,tensorrt,...")
@click.option("--threads", default="1", show_default=True, help="Such as 1,2.")
@click.option("--accuracy", help="Data set to judge by; known for our own files.")
@click.option(
    "--min-time",
    type=click.FloatRange(0.01),
    default=2.0,
    show_default=True,
    help="Seconds of timed inferences.",
)
@click.option("--cpu", type=click.IntRange(0), help="Pin the latency measurement to this core.")
@click.option("--json", "form", flag_value="json", help="Print JSON, schema edgegolf.bench/1.")
@click.option("--markdown", "form", flag_value="markdown", help="Print a Markdown table.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write there instead.")
@click.option("--min-accuracy", help="Gate: exit code 1 below, such as 98.5%.")
@click.option("--max-size", type=click.IntRange(0), help="Gate: bytes.")
@click.option("--max-latency", type=click.FloatRange(0), help="Gate: p50 in microseconds.")
@click.option("--baseline", type=click.Path(path_type=Path), help="Gate: earlier --json output.")
@click.option("--tolerance", default="10%", show_default=True, help="Allowed above the baseline.")
@click.option(
    "--on", "hosts", multiple=True, metavar="[USER@]HOST", help="Measure there; may be repeated."
)
@device_options
@click.option(
    "--emulate",
    type=click.Choice(["aarch64", "armv7l"]),
    help="Count the instructions of an inference on emulated Raspberry Pis instead.",
)
@click.pass_context
def bench(
    context: click.Context,
    files: tuple[str, ...],
    dataset: str | None,
    runtimes: str | None,
    provider: str,
    threads: str,
    accuracy: str | None,
    min_time: float,
    cpu: int | None,
    form: str | None,
    output: Path | None,
    min_accuracy: str | None,
    max_size: int | None,
    max_latency: float | None,
    baseline: Path | None,
    tolerance: str,
    hosts: tuple[str, ...],
    port: int | None,
    key: Path | None,
    folder: str | None,
    python: str | None,
    emulate: str | None,
) -> int:
    """Measure size, memory, latency and accuracy of model files.

    \b
    edgegolf bench models/mnist/tight_resnet/int8.tflite
    edgegolf bench tight_resnet --runtime litert,onnxruntime --threads 1,2
    edgegolf bench models/mnist/tight_resnet/*.onnx --json -o before.json
    edgegolf bench models/mnist/tight_resnet/*.onnx --baseline before.json
    edgegolf bench tight_resnet --on pi@raspberrypi.local
    edgegolf bench tight_resnet --emulate aarch64
    """
    from edgegolf.bench.bench import BenchOptions
    from edgegolf.bench.bench import bench as run_bench
    from edgegolf.bench.gate import Gate, parse_fraction, read_baseline, verdicts
    from edgegolf.bench.result import results_to_json
    from edgegolf.files import check_writable
    from edgegolf.report.bench_table import bench_notes, bench_table, to_csv, to_markdown
    from edgegolf.report.gate_lines import gate_lines, gate_markdown
    from edgegolf.workspace import find_files

    paths = [path for file in files for path in find_files(file, dataset)]
    chosen_runtimes = tuple(runtimes.split(",")) if runtimes else ()
    if emulate is not None:
        _only_with(context, "emulate", "files", "dataset", "runtimes", "form", "output")
        return _count_instructions(paths, emulate, chosen_runtimes, form, output)
    gate = Gate(
        min_accuracy=None if min_accuracy is None else parse_fraction(min_accuracy),
        max_size=max_size,
        max_latency=max_latency,
        baseline=None if baseline is None else read_baseline(baseline),
        tolerance=parse_fraction(tolerance),
    )
    if output is not None:
        check_writable(output)
    options = BenchOptions(
        runtimes=chosen_runtimes,
        providers=tuple(provider.split(",")),
        threads=_counts("--threads", threads),
        min_time=min_time,
        accuracy=accuracy,
        cpu=cpu,
    )
    if hosts:
        from edgegolf.deploy.host import parse_host
        from edgegolf.deploy.remote_bench import bench_on

        results = bench_on(
            [parse_host(host, port, key, folder, python) for host in hosts], paths, options
        )
    else:
        _refuse_without(context, "--on", "port", "key", "folder", "python")
        results = tuple(run_bench(paths, options))
    judged = verdicts(results, gate)
    texts = {"json": results_to_json, "markdown": to_markdown, "csv": to_csv}
    if form is None and output is None:
        _print(bench_table(results))
        for note in bench_notes(results):
            _say(note)
    else:
        below = "\n" + gate_markdown(judged) if form == "markdown" and judged else ""
        _write(texts[form or "json"](results) + below, output, form)
    for error in dict.fromkeys(result.error for result in results if result.error is not None):
        _say(f"error: {error}")
    for line in gate_lines(judged):
        _say(line)
    if any(result.error is not None for result in results):
        return BAD_INPUT
    return GATE_FAILED if any(verdict.failures for verdict in judged) else 0


def _count_instructions(
    paths: Sequence[Path],
    architecture: str,
    runtimes: Sequence[str],
    form: str | None,
    output: Path | None,
) -> int:
    from edgegolf.emulation.instructions import count_instructions, instructions_to_json
    from edgegolf.report.instructions_table import instructions_table

    if form not in (None, "json"):
        raise click.UsageError(f"--emulate prints a table or --json, not --{form}")
    results = count_instructions(paths, architecture, runtimes)
    if form is None and output is None:
        _print(instructions_table(results))
    else:
        _write(instructions_to_json(results), output)
    errors = dict.fromkeys(result.error for result in results if result.error is not None)
    for error in errors:
        _say(f"error: {error}")
    return BAD_INPUT if errors else 0


def _refuse_without(context: click.Context, option: str, *names: str) -> None:
    """Refuse options that have an effect only together with another one."""
    for parameter in context.command.params:
        if parameter.name in names and context.params[parameter.name] is not None:
            raise click.UsageError(f"{parameter.opts[0]} has no effect without {option}")


def _only_with(context: click.Context, option: str, *allowed: str) -> None:
    """Refuse options that would have no effect."""
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and name not in (option, *allowed):
            raise click.UsageError(f"{parameter.opts[0]} has no effect with --{option}")


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, schema edgegolf.anatomy/1.")
@click.option("--picture", type=click.Path(path_type=Path), help="Draw a treemap: .svg or .png.")
def anatomy(file: Path, as_json: bool, picture: Path | None) -> None:
    """Tell where every byte of a model file goes.

    And what sharing would save.

    \b
    edgegolf anatomy models/mnist/tight_resnet/int8.tflite
    edgegolf anatomy models/mnist/tight_resnet/int8.onnx --picture anatomy.svg
    """
    from edgegolf.anatomy.anatomy import anatomy as dissect
    from edgegolf.records import to_json
    from edgegolf.report.anatomy_table import anatomy_table
    from edgegolf.report.pictures import draw_anatomy

    found = dissect(file)
    if picture is not None:
        draw_anatomy(found, picture)
    if as_json:
        click.echo(to_json(found), nl=False)
    else:
        _print(anatomy_table(found))


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="FILE.golfed.SUFFIX if absent."
)
@click.option("--keep-names", is_flag=True, help="Keep the names of tensors and nodes.")
@click.option("--keep-metadata", is_flag=True, help="Keep metadata and descriptions.")
@click.option("--keep-signatures", is_flag=True, help="Keep the signatures of a .tflite file.")
@click.option("--portable", is_flag=True, help="An .onnx file that OpenVINO and OpenCV read, too.")
@click.option("--unverified", is_flag=True, help="Write a file that no runtime could compare.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, schema edgegolf.golf/1.")
def golf(
    file: Path,
    output: Path | None,
    keep_names: bool,
    keep_metadata: bool,
    keep_signatures: bool,
    portable: bool,
    unverified: bool,
    as_json: bool,
) -> None:
    """Rewrite a model file into fewer bytes, outputs bit-identical.

    \b
    edgegolf golf models/mnist/tight_resnet/float32.tflite -o smaller.tflite
    edgegolf golf models/mnist/tight_resnet/float32.onnx --keep-names -o s.onnx
    """
    from edgegolf.golf.golf import golf_file
    from edgegolf.progress import Work
    from edgegolf.records import to_json
    from edgegolf.report.golf_table import golf_table
    from edgegolf.runtimes.compare import compare_files

    destination = output or file.with_suffix(f".golfed{file.suffix}")
    keep = (keep_names, keep_metadata, keep_signatures, portable)
    with Work(f"golfing {file}"):
        result = golf_file(file, destination, *keep, compare=compare_files, unverified=unverified)
    if as_json:
        click.echo(to_json(result), nl=False)
    else:
        _print(golf_table(result))


@cli.command()
@click.argument("first", type=click.Path(path_type=Path), metavar="A")
@click.argument("second", type=click.Path(path_type=Path), metavar="B")
@click.option("--data", help="A samples.npz, or a data set's name; random inputs if absent.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, schema edgegolf.compare/1.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write .html, .md, .csv, .svg or .png."
)
def compare(
    first: Path, second: Path, data: str | None, as_json: bool, output: Path | None
) -> None:
    """Tell in which layers model B gets worse than model A.

    Both may be .tflite, .onnx or .keras files.

    \b
    edgegolf compare models/mnist/cnn-2/float32.onnx models/mnist/cnn-2/int8.onnx
    """
    from edgegolf.compare.compare import compare as compare_models
    from edgegolf.progress import Work
    from edgegolf.records import to_json
    from edgegolf.report.compare_table import check_output, compare_tables, write_comparison

    if output is not None:
        check_output(output)
    with Work(f"comparing {first.name} and {second.name}"):
        found = compare_models(first, second, data)
    if output is not None:
        write_comparison(found, output)
        _say(f"{output}: {output.stat().st_size:,} bytes")
    if as_json:
        click.echo(to_json(found), nl=False)
    else:
        _print(*compare_tables(found))


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The .c file; MODEL's name if absent."
)
@click.option(
    "--optimize", type=click.Choice(["size", "speed", "ram"]), default="size", show_default=True,
    help="Code and weights, time, or arena and stack.",
)  # fmt: skip
@click.option("--fits", metavar="DEVICE", help="Refuse what this does not hold, say atmega328p.")
@click.option("--check", is_flag=True, help="Compile it here, compare every bit of the outputs.")
@click.option("--selftest", is_flag=True, help="Add two inputs with their outputs, and a test.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, schema edgegolf.c/1.")
def c(
    model: Path, output: Path | None, optimize: Literal["size", "speed", "ram"],
    fits: str | None, check: bool, selftest: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write an int8 file as C, say for an Arduino.

    \b
    edgegolf c models/mnist/double_cnn-2/int8-smallest.tflite -o digits.c --check
    edgegolf c models/mnist/tight_resnet/int8.tflite -o net.c --optimize speed
    """
    from edgegolf.export.c_files import write_c
    from edgegolf.progress import Work
    from edgegolf.records import to_json
    from edgegolf.report.c_table import c_table

    with Work(f"writing {model} as C"):
        result = write_c(model, output, fits, check, selftest, optimize)
    if as_json:
        click.echo(to_json(result), nl=False)
    else:
        _print(c_table(result))


@cli.command()
@click.argument("net")
@click.option("--dataset", help="Data set; MNIST where it is to be had, else digits.")
@click.option("--iterations", default="1,2,4,8,16,32", show_default=True, help="To grow over.")
@click.option("--figures", type=click.Path(path_type=Path), help="Folder for the pictures.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, schema edgegolf.footprint/1.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the JSON there.")
def footprint(
    net: str,
    dataset: str | None,
    iterations: str,
    figures: Path | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Measure what sharing weights saves as a net gets deeper.

    \b
    edgegolf footprint tight_resnet
    edgegolf footprint tight_resnet -o docs/footprint.json --figures docs
    """
    from edgegolf.data import load_dataset
    from edgegolf.footprint.footprint import footprint as measure_footprint
    from edgegolf.records import to_json
    from edgegolf.report.footprint_table import footprint_tables
    from edgegolf.report.pictures import draw_footprint

    found = measure_footprint(net, load_dataset(dataset), _counts("--iterations", iterations))
    if figures is not None:
        draw_footprint(found, figures)
    if as_json or output is not None:
        _write(to_json(found), output)
    if not as_json:
        _print(*footprint_tables(found))


@cli.command(cls=Resumable)
@click.argument("file", metavar="FILE.tflite", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder.  [default: FILE.circuit]"
)
@click.option(
    "--device",
    "devices",
    multiple=True,
    type=click.Choice(["up5k", "hx8k", "ecp5-25k", "ecp5-85k"]),
    help="What to synthesize for; may be repeated.  [default: up5k]",
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 32),
    default=4,
    show_default=True,
    help="Multiply-accumulates in a cycle.",
)
@click.option(
    "--simulate", type=click.IntRange(1, 100_000), help="Compare the logits of so many images."
)
@click.option("--synthesize", is_flag=True, help="With yosys and nextpnr: cells and clock.")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="Placements.")
@click.option("--twin", type=click.Path(path_type=Path), help="The same for another file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, schema edgegolf.circuit/1.")
@click.pass_context
def circuit(
    context: click.Context,
    file: Path,
    output: Path | None,
    devices: tuple[str, ...],
    parallel: int,
    simulate: int | None,
    synthesize: bool,
    seeds: int,
    twin: Path | None,
    as_json: bool,
) -> None:
    """Turn an int8 .tflite file into a circuit in Verilog.

    It gives the same logits, bit by bit. With a testbench, golden vectors, and a Makefile for
    open tools that needs no edgegolf. What is there already is not made again.

    \b
    edgegolf circuit models/mnist/tight_resnet/int8.tflite -o circuit
    edgegolf circuit models/mnist/pooled_linear/int8.tflite --simulate 10
    edgegolf circuit models/mnist/tight_resnet/int8.tflite --synthesize --seeds 2
    """
    from dataclasses import replace

    from edgegolf.circuit.circuit import make_circuit
    from edgegolf.records import to_json
    from edgegolf.report.circuit_table import circuit_table

    if not synthesize:
        for name in ("devices", "seeds"):
            if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
                option = {"devices": "--device", "seeds": "--seeds"}[name]
                raise click.UsageError(f"{option} has no effect without --synthesize")
    chosen = devices or ("up5k",) if synthesize else ()
    folder = output or file.with_suffix(".circuit")
    made = make_circuit(file, folder, parallel, simulate or 0, chosen, seeds)
    if twin is not None:
        beside = folder.with_name(f"{folder.name}.twin")
        other = make_circuit(twin, beside, parallel, simulate or 0, chosen, seeds)
        made = replace(made, twin=other)
    if as_json:
        click.echo(to_json(made), nl=False)
    else:
        _print(*(circuit_table(each) for each in (made, made.twin) if each is not None))


@cli.command()
@click.argument("host", metavar="[USER@]HOST")
@click.argument("models", nargs=-1, metavar="FILE|NET...")
@click.option("--dataset", help="Where to look for a net's files: models/DATASET/NET.")
@device_options
@click.option("--runtime", help="What runs the models there, instead of the preferred one.")
@click.option(
    "--wheels",
    type=click.Path(path_type=Path, file_okay=False),
    help="For a device without internet: fetch its packages into this folder and copy them.",
)
@click.option("--rollback", "action", flag_value="rollback", help="Use the release before again.")
@click.option("--status", "action", flag_value="status", help="Show what is there.")
@click.option("--remove", "action", flag_value="remove", help="Take away all that was put there.")
def deploy(
    host: str,
    models: tuple[str, ...],
    dataset: str | None,
    port: int | None,
    key: Path | None,
    folder: str | None,
    python: str | None,
    runtime: str | None,
    wheels: Path | None,
    action: str | None,
) -> None:
    """Put models to use on a Raspberry Pi, over SSH.

    Or on any Linux machine. Each is copied, verified, and run there and here to compare. A
    deployment that fails leaves the one before in use. Of a net goes the file that its card names
    for the board; `edgegolf export --emulate` notes it there.

    \b
    edgegolf deploy pi@raspberrypi.local tight_resnet
    edgegolf deploy pi@raspberrypi.local models/mnist/tight_resnet/int8.tflite
    edgegolf deploy pi@raspberrypi.local tight_resnet --wheels wheels
    edgegolf deploy pi@raspberrypi.local --status
    """
    import edgegolf.deploy.deploy as room
    from edgegolf.deploy.host import parse_host
    from edgegolf.report.deploy_table import device_lines, models_table, releases_table
    from edgegolf.workspace import find_files

    if (action is None) != bool(models):
        raise click.UsageError("give models to deploy, or one of --rollback, --status, --remove")
    device = parse_host(host, port, key, folder, python)
    if action == "rollback":
        _say(f"Release {room.rollback(device).release} is in use on {device}.")
    elif action == "remove":
        room.remove(device)
        _say(f"All that edgegolf had put on {device} is gone.")
    elif action == "status":
        found = room.status(device)
        _print("\n".join(device_lines(found.device)), releases_table(found))
    else:
        groups = [find_files(model, dataset) for model in models]
        deployed = room.deploy(device, groups, runtime, wheels)
        _print("\n".join(device_lines(deployed.device)), models_table(deployed.release))
        _say(
            f"Release {deployed.release.release} is in use on {device}; "
            f"{deployed.copied_bytes:,} bytes of models were copied."
        )


@cli.command()
@click.argument("results", nargs=-1, type=click.Path(path_type=Path), metavar="[RESULTS]...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The page.",
)
@click.option(
    "--figures", type=click.Path(path_type=Path), help="Folder for each chart as a picture."
)
def report(results: tuple[Path, ...], output: Path, figures: Path | None) -> None:
    """Write one page of charts and tables that needs no network.

    RESULTS are model folders and JSON files of bench, footprint and sweep; every trained net if
    absent.

    \b
    edgegolf report
    edgegolf report models/mnist/* docs/costs/cifar10.json --figures pictures
    """
    from edgegolf.progress import Work
    from edgegolf.report.page import write_report
    from edgegolf.workspace import MODELS

    sources = results or tuple(sorted(path.parent for path in MODELS.glob("*/*/card.json")))
    with Work("drawing the charts"):
        write_report(sources, output, figures)
    _say(f"{output}: {output.stat().st_size:,} bytes")


@cli.command()
@click.argument(
    "images", nargs=-1, required=True, metavar="IMAGE...", type=click.Path(path_type=Path)
)
@click.option(
    "--model", "models", multiple=True, metavar="FILE|NET", help="Instead of those deployed."
)
@click.option("--dataset", help="Ask the nets that were trained on it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, schema edgegolf.guess/1.")
def classify(
    images: tuple[Path, ...], models: tuple[str, ...], dataset: str | None, as_json: bool
) -> None:
    """Tell what images show: digits, or what the nets know.

    Drawings and photos alike. Asked are the models that are deployed on this machine, else every
    net's int8 file; of these the ones for handwritten digits, unless --dataset or --model says
    otherwise.

    \b
    edgegolf classify docs/seven.png
    edgegolf classify photo.jpg --dataset cifar10
    edgegolf classify docs/*.png --model tight_resnet --json
    """
    from edgegolf.demo.decoding import Decoder
    from edgegolf.demo.guessing import for_subject, guess_file, open_models
    from edgegolf.report.guesses_table import guesses_tables

    with Decoder() as decoder:
        opened = open_models(models, dataset)
        asked = opened if models else for_subject(opened, None)
        answers = {str(image): guess_file(asked, decoder, image) for image in images}
    if as_json:
        import json

        answer = [
            {"image": image, "guesses": [each.to_dict() for each in answer.guesses]}
            for image, answer in answers.items()
        ]
        click.echo(json.dumps(answer, indent=2))
    else:
        _print(*guesses_tables(answers))


@cli.command()
@click.argument("models", nargs=-1, metavar="[FILE|NET]...")
@click.option("--dataset", help="Only the nets that were trained on it.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8028, show_default=True, help="0 finds one."
)
def demo(models: tuple[str, ...], dataset: str | None, host: str, port: int) -> None:
    """Serve a page on which one draws digits and nets guess.

    And POST /classify for programs. Nets that were trained on photos are asked about photos, in a
    tab of their own. Only this machine can reach it unless --host says otherwise. Without names:
    the models that are deployed on this machine, else every net's int8 file.

    \b
    edgegolf demo
    edgegolf demo tight_resnet linear
    edgegolf demo models/mnist/tight_resnet/int8.tflite --host 0.0.0.0
    """
    from edgegolf.demo.decoding import Decoder
    from edgegolf.demo.guessing import open_models
    from edgegolf.demo.server import DemoServer

    with (
        Decoder() as decoder,
        DemoServer(open_models(models, dataset), decoder, host, port) as server,
    ):
        _say(f"{len(server.models)} models on {server.url} until Ctrl-C")
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def main() -> None:
    """Run the command line; every foreseeable failure is one clear line and an exit code."""
    try:
        status = cli.main(standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except EdgegolfError as error:
        hint = f"\n  {error.hint}" if error.hint else ""
        _fail(f"{error.message}{hint}", BAD_INPUT)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "edgegolf"
        _fail(f"{error.format_message()}\n  {command} --help tells more", BAD_INPUT)
    except (KeyboardInterrupt, click.Abort) as interruption:
        _fail("; ".join(["interrupted", *map(str, interruption.args)]), INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BAD_INPUT)


def _fail(message: str, status: int) -> None:
    _clear()
    _say(f"error: {message}")
    sys.exit(status)


def _clear() -> None:
    """Take what is shown live off the terminal, if anything was."""
    if (progress := sys.modules.get("edgegolf.progress")) is not None:
        progress.clear()


def _say(message: str) -> None:
    from edgegolf.progress import say

    say(message)


def _print(*renderables: RenderableType) -> None:
    """Print for people: as wide as the terminal, or 80 columns where there is none."""
    from rich.console import Console
    from rich.text import Text

    from edgegolf.progress import aside

    shown = [Text(f"{each}\n") if isinstance(each, str) else each for each in renderables]
    with aside():
        Console(highlight=False).print(*shown, end="")


def _write(text: str, output: Path | None, form: str | None = None) -> None:
    """Print a text, or write it and say what was written: JSON if nothing else was asked for."""
    from edgegolf.files import write_atomically

    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        write_atomically(output, text)
        kind = {"csv": "CSV", "markdown": "Markdown"}.get(form or "", "JSON")
        _say(f"{output}: {kind}, {output.stat().st_size:,} bytes")


def _counts(option: str, text: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1:
        raise EdgegolfError(f"{option} {text!r} is no list of counts", hint="write 1,2")
    return counts


def _print_json(records: Iterable[Any]) -> None:
    import json

    from edgegolf.records import to_dict

    click.echo(json.dumps([to_dict(record) for record in records], indent=2))
