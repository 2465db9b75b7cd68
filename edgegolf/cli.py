"""The command line: one verb per room, no logic of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegolf.completion import models as model_names
from edgegolf.completion import nets as net_names
from edgegolf.errors import EdgegolfError, unknown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgegolf.bench.gate import Verdict
    from edgegolf.bench.result import BenchResult
    from edgegolf.emulation.cores import CoreCount
    from edgegolf.emulation.instructions import Instructions
    from edgegolf.export import ExportOptions
    from edgegolf.export.publish import Published
    from edgegolf.records import R, Record
    from edgegolf.sweep import Store, Sweep

BAD_INPUT = 2
GATE_FAILED = 1
INTERRUPTED = 130  # 128 + SIGINT, as shells count


class Parsed(click.ParamType):
    """A text, and what a function makes of it."""

    name = "text"

    def __init__(self, parse: Callable[[str], Any]) -> None:
        self.parse = parse

    def convert(self, value: Any, parameter: Any, context: Any) -> Any:
        """What the function makes of it."""
        return self.parse(value) if isinstance(value, str) else value


class Given(click.Path):
    """A file or folder that is there; a mistyped net's or file's name gets a suggestion."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, parameter: Any, context: Any) -> Any:
        """The path."""
        from edgegolf.workspace import check_given

        return check_given(Path(os.fsdecode(super().convert(value, parameter, context))))


class Output(click.Path):
    """Where something is to be written; that it can be is found out before any work."""

    def __init__(self, *suffixes: str, is_folder: bool | None = False) -> None:
        super().__init__(path_type=Path)
        self.suffixes = suffixes  # of which a file must have one, if there are any
        self.is_folder = is_folder  # whether it is a folder for files; None if it may be either

    def convert(self, value: Any, parameter: Any, context: Any) -> Any:
        """The path."""
        from edgegolf.files import check_writable

        path = Path(os.fsdecode(super().convert(value, parameter, context)))
        if self.suffixes and path.suffix not in self.suffixes:
            raise EdgegolfError(f"{path} is no {' or '.join(self.suffixes)} file")
        check_writable(path, path.is_dir() if self.is_folder is None else self.is_folder)
        return path


def _counts(text: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1:
        raise EdgegolfError(f"{text!r} is no list of counts", hint="write 1,2")
    return counts


def _fraction(text: str) -> float:
    from edgegolf.bench.gate import parse_fraction

    return parse_fraction(text)


FILE = Given()
OUTPUT, PICTURE, FOLDER = Output(), Output(".svg", ".png"), Output(is_folder=True)
COUNT = click.IntRange(1)
COUNTS, FRACTION = Parsed(_counts), Parsed(_fraction)
NAMES = Parsed(lambda text: tuple(text.split(",")))
THEIR_DATASET = "Data set; what the nets are made for, or what stands in for it."
DEVICE = ("port", "key", "folder", "python")
NET_DATASET = "Where to look for a net's files: models/DATASET/NET."

Command = Callable[..., Any]
option, argument = click.option, click.argument


def flag(name: str, text: str, *names: str) -> Callable[[Command], Command]:
    """An option that is given or not."""
    return option(name, *names, is_flag=True, help=text)


def usual(
    name: str, default: Any, text: str, names: Sequence[str] = (), **settings: Any
) -> Callable[[Command], Command]:
    """An option whose default the help shows."""
    return option(name, *names, default=default, show_default=True, help=text, **settings)


def as_json(schema: str) -> Callable[[Command], Command]:
    """`--json` instead of what is for people."""
    return flag("--json", f"Print JSON, schema edgegolf.{schema}/1.", "as_json")


def to_file(text: str, kind: Output = OUTPUT) -> Callable[[Command], Command]:
    """`--output`, a path."""
    return option("-o", "--output", type=kind, help=text)


def stacked(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options in one."""
    return lambda command: reduce(lambda made, each: each(made), reversed(options), command)


def forms(parameter: str = "form", **texts: str) -> Callable[[Command], Command]:
    """Flags of which one is given, by its name."""
    return stacked(
        *(option(f"--{each}", parameter, flag_value=each, help=texts[each]) for each in texts)
    )


device_options = stacked(
    option("--port", type=click.IntRange(1, 65535), help="Of the device's SSH server."),
    option("--key", type=click.Path(path_type=Path), help="Private key; else as ssh would."),
    option("--dir", "folder", help="Folder there.  [default: ~/.local/share/edgegolf]"),
    option("--python", help="Python there.  [default: python3]"),
)


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


def _install_completion(context: click.Context, option: Any, wanted: bool) -> None:
    if wanted:
        from edgegolf.completion import install_completion

        _say(install_completion(context.command, Path.home()))
        context.exit()


@click.group(cls=Paragraphs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edgegolf")
@option(
    "--install-completion",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_install_completion,
    help="Teach this shell (bash, zsh or fish) to complete names.",
)
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
@argument("net", required=False, shell_complete=net_names)
def zoo(net: str | None) -> None:
    """List the nets, or show the layers of one.

    \b
    edgegolf zoo
    edgegolf zoo cnn:2
    """
    from edgegolf.report.net_tables import layer_table, zoo_table
    from edgegolf.zoo import CLASSES, all_recipes, named_recipe
    from edgegolf.zoo.summary import summarize

    if net is None:
        _print(zoo_table(all_recipes()))
        return
    recipe = named_recipe(net)
    from edgegolf.quiet import import_keras

    import_keras()
    _print(f"{recipe.name}: {recipe.summary}. From: {recipe.article.title}.")
    _print(layer_table(summarize(recipe.build(recipe.image_shape, CLASSES))))


@cli.command()
@option("--json", "as_json", is_flag=True, help="Print JSON.")
def data(as_json: bool) -> None:
    """List the data sets: where each is, its checksum, its licence.

    \b
    edgegolf data
    edgegolf data --json
    """
    from edgegolf.data import list_datasets
    from edgegolf.progress import Work
    from edgegolf.report.net_tables import data_table

    with Work("checking the data sets"):
        statuses = list_datasets()
    _show(statuses, as_json, data_table(statuses))


@cli.command(cls=Resumable)
@argument("nets", nargs=-1, metavar="[NET]...", shell_complete=net_names)
@option("--dataset", help=THEIR_DATASET)
@option("--epochs", type=COUNT, help="Instead of the recipe's.")
@option("--from", "start", metavar="NET", help="Begin with a trained net's weights.")
@usual("--seed", 0, "First seed.", type=click.IntRange(0))
@usual("--seeds", 1, "How many seeds.", type=COUNT)
@option("--out", type=FOLDER, help="Folder for the results of one net.")
@option("--processes", type=COUNT, help="Runs side by side; one per core.")
@flag("--fresh", "Forget finished and interrupted runs.")
@flag("--replace", "Replace a model that was trained otherwise, or better.")
def train(
    nets: tuple[str, ...], dataset: str | None, seed: int, seeds: int, out: Path | None, **how: Any
) -> None:
    """Train nets from scratch: all small ones if none is named.

    Run it again to go on after an interruption: finished runs are kept. What is trained with
    other epochs or data than the model that is there goes to a folder below trials/. A net and a
    data set of your own are functions: my.py:net, --dataset my.py:data. A recipe, such as a
    search writes, is a .toml file. With --from, a net that applies shared layers fewer times takes
    larger steps; it is trained half as long.

    \b
    edgegolf train
    edgegolf train tight_resnet --seeds 3
    edgegolf train cnn:2 --epochs 4 --out /tmp/cnn
    edgegolf train tight_resnet:iterations=4 --from tight_resnet
    """
    from edgegolf.data import named_dataset
    from edgegolf.report.training_display import TrainingDisplay, trained_line
    from edgegolf.training import train_nets
    from edgegolf.zoo import default_names, usual_dataset

    if out is not None and len(nets) != 1:
        raise click.UsageError("--out goes with exactly one net")
    found = named_dataset(dataset, usual=usual_dataset(nets))
    chosen, numbers = nets or default_names(found.image_shape), range(seed, seed + seeds)
    _say(f"Training on {found.name} from {found.location}.")
    with TrainingDisplay() as display:
        trained = train_nets(chosen, found.key, numbers, out=out, report=display.report, **how)
    for each in trained:
        _say(trained_line(each))


@cli.command(cls=Resumable)
@argument("sweep", metavar="NAME|FILE.toml")
@option("--dataset", help=THEIR_DATASET)
@option("--seeds", type=COUNT, help="How many, instead of the file's number.")
@option("--jobs", type=COUNT, help="Runs side by side; one per core.")
@flag("--resume", "Go on with a sweep; an error if it was not begun.")
@option("--store", help="File or postgresql://… URL of the results.")
@option("--cluster", help="Ray cluster that does the runs, such as ray://host:10001.")
@flag("--costs", "Train nothing: make the files of every net and time them, on an idle machine.")
@forms(
    table="Run nothing: show what is there.",
    json="Likewise, schema edgegolf.sweep/1.",
    csv="Likewise, one line per run.",
    markdown="Likewise, as Markdown tables.",
)
@to_file("Write there instead.")
@option("--picture", type=PICTURE, help="Draw it: .svg or .png.")
def sweep(
    sweep: str,
    dataset: str | None,
    seeds: int | None,
    store: str | None,
    costs: bool,
    form: str | None,
    output: Path | None,
    picture: Path | None,
    **how: Any,
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
    from edgegolf.report import page_charts, pictures
    from edgegolf.report.sweep_tables import sweep_csv, sweep_markdown, sweep_tables
    from edgegolf.sweep import load_sweep, nets_of, results_of
    from edgegolf.zoo import usual_dataset

    data = load_dataset(dataset, usual=usual_dataset(nets_of(sweep)))
    is_begun = form is not None or how["resume"]
    loaded, opened = load_sweep(sweep, data, seeds), _store(store, is_made=not is_begun)
    if costs:
        from edgegolf.footprint.sweep_costs import measure_sweep

        measure_sweep(loaded, data, opened)
    elif form is None:
        _run_sweep(loaded, f"{loaded.title}.", opened, **how)
    results = results_of(loaded, opened)
    if picture is not None:
        pictures.draw(page_charts.sweep(results), picture)
    texts = {"csv": sweep_csv, "markdown": sweep_markdown}
    _show_or_write(results, form, output, texts, *sweep_tables(results))


def _store(address: str | None, is_made: bool) -> Store:
    from edgegolf.sweep import Store
    from edgegolf.workspace import user_store

    return Store(address or str(user_store()), is_made=is_made)


def _run_sweep(sweep: Sweep, title: str, store: Store, **how: Any) -> None:
    from edgegolf.report.training_display import report_sweep
    from edgegolf.sweep import run_sweep

    _say(f"{title} {len(sweep.runs)} runs on {sweep.dataset}; in {store.shown}.")
    with report_sweep(len(sweep.runs)) as report:
        run_sweep(sweep, store, report=report, **how)


@cli.command(cls=Resumable)
@argument("space", metavar="NAME|SPACE.toml")
@option("--dataset", help=THEIR_DATASET)
@option("--target", type=FRACTION, help="Accuracy to reach, such as 99%, instead of the file's.")
@option(
    "--minimize",
    type=click.Choice(["parameters", "macs", "bytes"]),
    help="What is to be small, instead of the file's.",
)
@option("--trials", type=COUNT, help="How many nets to try, instead of the file's number.")
@option("--jobs", type=COUNT, help="Nets side by side; one per core.")
@option("--store", help="File or postgresql://… URL of the results.")
@option("--cluster", help="Ray cluster that does the runs, such as ray://host:10001.")
@forms(
    table="Run nothing: show what is there.",
    json="Likewise, schema edgegolf.search/1.",
    markdown="Likewise, as a Markdown table.",
)
@to_file("Write there instead.")
@option("--picture", type=PICTURE, help="Draw the Pareto front: .svg or .png.")
@option("--best", type=Output(".toml"), help="Write the best net's recipe, for edgegolf train.")
def search(
    space: str,
    dataset: str | None,
    store: str | None,
    jobs: int | None,
    cluster: str | None,
    form: str | None,
    output: Path | None,
    picture: Path | None,
    best: Path | None,
    **chosen: Any,
) -> None:
    """Search a space for the cheapest net that reaches an accuracy.

    A space is a small TOML file: what a net's settings and recipe may be. Run it again to go on
    after an interruption: results are kept, as those of sweeps. Nets are selected on the
    validation split; the test split is read when `edgegolf train` trains the one that is kept.

    \b
    edgegolf search tiny --dataset digits
    edgegolf search mnist-98 --trials 200 --jobs 2
    edgegolf search mnist-98 --table --picture front.svg --best small.toml
    edgegolf search my.toml --target 99% --minimize macs
    edgegolf search my.toml --cluster ray://host:10001 --store postgresql://u@h/s
    """
    from edgegolf.data import load_dataset
    from edgegolf.files import write_atomically
    from edgegolf.report import pictures
    from edgegolf.report.search_tables import report_search, search_chart, search_table
    from edgegolf.search import load_search, read_space, recipe_text, results_of, run_search

    read = read_space(space)
    data, opened = load_dataset(dataset, usual=read.dataset), _store(store, is_made=form is None)
    loaded = load_search(space, read, data, **chosen)
    if form is None:
        expected, minimize = loaded.space.trials, loaded.space.minimize
        _say(f"{read.title}. {expected} nets on {data.name}; in {opened.shown}.")
        with report_search(expected, minimize) as report:
            run_search(loaded, opened, jobs, cluster, report)
    results = results_of(loaded, opened)
    if picture is not None:
        pictures.draw(search_chart(results), picture)
    table = search_table(results)
    _show_or_write(results, form, output, {"markdown": lambda _: table.markdown()}, table)
    if best is not None:
        if results.best is None:
            raise EdgegolfError("no net was trained to the end yet")
        write_atomically(best, recipe_text(results, results.best))
        _say(f"{best}: train it with edgegolf train {best} --seeds 3, which reads the test split")


@cli.command(cls=Resumable)
@argument("net", shell_complete=net_names)
@option("--dataset", help="Data set; what the net is made for, or what stands in for it.")
@option("--epochs", type=COUNT, help="Of each idea, instead of the file's.")
@usual("--seeds", 1, "How many.", type=COUNT)
@option("--jobs", type=COUNT, help="Runs side by side; one per core.")
@option("--store", help="File or postgresql://… URL of the results.")
@forms(
    table="Run nothing: show what is there.",
    json="Likewise, schema edgegolf.ablation/1.",
    markdown="Likewise, as a Markdown table.",
)
@to_file("Write there instead.")
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
    from edgegolf.report.sweep_tables import ablation_markdown, ablation_table
    from edgegolf.sweep.ablation import ablation_results, load_ablation, read_ablation

    definition = read_ablation(net)
    found = load_dataset(dataset, usual=definition.dataset)
    ablation = load_ablation(net, definition, found, epochs, seeds)
    opened = _store(store, is_made=form is None)
    if form is None:
        title = definition.title
        _run_sweep(ablation.sweep, title, opened, jobs=jobs, cluster=None, resume=False)
    results = ablation_results(ablation, opened)
    texts = {"markdown": ablation_markdown}
    _show_or_write(results, form, output, texts, ablation_table(results))


@cli.command(cls=Resumable)
@argument("models", nargs=-1, metavar="[NET|MODEL.keras]...", shell_complete=model_names)
@option("--dataset", help=THEIR_DATASET)
@usual("--formats", "tflite,onnx", "What to write.", type=NAMES)
@usual(
    "--dtype",
    "float32,int8",
    "What to write: float32, float16, int8, int4, int2, mixed (4 and 2), or dynamic (range).",
    names=("dtypes",),
    type=NAMES,
)
@usual(
    "--calibration-images", 500, "Training images that the int8 scales are chosen on.", type=COUNT
)
@option(
    "--calibration-data",
    help="Samples of a model of your own: an .npz or .npy file, a folder of images, or a Python "
    "function, my.py:samples.",
)
@option(
    "--labels",
    type=FILE,
    help="Of a folder of images: a CSV file of rows file,label.  [default: FOLDER/labels.csv]",
)
@option(
    "--optimize",
    "goal",
    type=click.Choice(["size", "latency", "balanced"]),
    help="What the int8 files are chosen for; the best for each is kept by default.",
)
@flag("--quick", "No search and no fine-tuning: seconds, and larger int8 files.")
@usual(
    "--scales",
    "any",
    "Power-of-two: shifts instead of multiplications, in int8.tflite only.",
    type=click.Choice(["any", "power-of-two"]),
)
@option(
    "--input-shape",
    "input_shapes",
    multiple=True,
    help="Sizes that the model leaves open, without the batch: 28,28,1, or NAME:28,28,1.",
)
@flag("--portable", ".onnx files that OpenVINO reads, too.")
@usual("--max-drop", "0.5%", "Accuracy a file may lose.", type=FRACTION)
@usual("--batch", 1, "Samples.", type=COUNT)
@option("--out", type=FOLDER, help="Folder for a .keras file's files.")
@option(
    "--emulate",
    type=click.Choice(["aarch64"]),
    help="Then find out which file to take on Raspberry Pis, by counting instructions.",
)
@click.pass_context
def export(
    context: click.Context,
    models: tuple[str, ...],
    dataset: str | None,
    calibration_data: str | None,
    out: Path | None,
    emulate: str | None,
    **how: Any,
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
    edgegolf export my.keras --calibration-data photos --labels photos.csv
    edgegolf export tight_resnet --emulate aarch64
    """
    from edgegolf.export import ExportOptions
    from edgegolf.export.model_source import is_model, parse_shapes

    if how["scales"] != "any":
        _refuse(context, "with --scales power-of-two", ("formats", "dtypes").__contains__)
        how |= {"formats": ("tflite",), "dtypes": ("int8",)}
    options = ExportOptions(**how | {"input_shapes": parse_shapes(how["input_shapes"])})
    files = [Path(model) for model in models if is_model(model)]
    nets = [model for model in models if not is_model(model)]
    failed = files and _export_files(files, out, dataset, calibration_data, options, emulate)
    if nets or not files:
        _export_nets(nets, dataset, options, emulate)
    elif failed:
        raise SystemExit(1)


def _export_files(
    files: Sequence[Path],
    out: Path | None,
    dataset: str | None,
    samples: str | None,
    options: ExportOptions,
    emulate: str | None,
) -> bool:
    """Export a user's models; whether a file could not be made."""
    from edgegolf.export.publish import publish_files
    from edgegolf.report.file_tables import export_table

    failed = False
    with closing(publish_files(files, out, dataset, samples, options)) as ready:
        for file, published in ready:
            _show_published(file, published)
            if published.made:
                _print(export_table(published.made, title=str(file)))
            for name, error in published.failures.items():
                _say(f"✗ {name}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
                failed = True
            if emulate is not None:
                _count_for_boards(
                    [published.folder / each.name for each in published.made], emulate
                )
    return failed


def _export_nets(
    nets: Sequence[str], dataset: str | None, options: ExportOptions, emulate: str | None
) -> None:
    """Export nets of the zoo, all that are trained if none is named, and time their files."""
    from edgegolf.bench.quick import latencies_in_turns
    from edgegolf.data import named_dataset
    from edgegolf.emulation.choice import note_choices
    from edgegolf.export.publish import publish_all
    from edgegolf.progress import Work
    from edgegolf.report.net_tables import models_table
    from edgegolf.runtimes.registry import preferred_runtime
    from edgegolf.workspace import exported_files, net_folders, trained_folders, trial_folders
    from edgegolf.zoo import usual_dataset

    found = named_dataset(dataset, usual=usual_dataset(() if dataset else nets))
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
            _show_published(folder, published)
            cards[folder] = published.card
    paths = [path for folder in folders for path in exported_files(folder)]
    runs = [(path, preferred_runtime(path)) for path in paths]
    with Work("timing the files"):
        latencies = latencies_in_turns(runs, found.split("validation").images[:1])
    by_path = {path: latency for (path, _), latency in latencies.items()}
    _print(models_table([card for folder in folders if (card := cards[folder])], by_path))
    if emulate is not None:
        counted = _count_for_boards(paths, emulate)
        for folder in folders:
            note_choices(folder, counted)


def _show_published(name: Path, published: Published) -> None:
    from edgegolf.report.file_tables import candidates_table

    for file_format, candidates in published.candidates.items():
        _print(candidates_table(candidates, f"{name}: {file_format} candidates"))
    for sentence in published.notes:
        _say(f"{name}: {sentence}")
    if not published.made and not published.failures:
        _say(f"{name}: its files are up to date")


def _count_for_boards(paths: Sequence[Path], architecture: str) -> tuple[Instructions, ...]:
    from edgegolf.emulation.instructions import count_instructions
    from edgegolf.report.instruction_tables import choice_lines

    counted = count_instructions(paths, architecture)
    _print("\n".join(choice_lines(counted)))
    return counted


@cli.command()
@argument("files", nargs=-1, required=True, metavar="FILE|NET...", shell_complete=model_names)
@option("--dataset", help=NET_DATASET)
@option(
    "--runtime",
    "runtimes",
    default=(),
    type=NAMES,
    help="Of litert,litert-reference,tflite-runtime,onnxruntime,c.",
)
@usual("--provider", "cpu", "Of cpu,cuda,tensorrt,...", names=("providers",), type=NAMES)
@usual("--threads", "1", "Such as 1,2.", type=COUNTS)
@option("--accuracy", help="Data set to judge by; known for our own files.")
@usual("--min-time", 2.0, "Seconds of timed inferences.", type=click.FloatRange(0.01))
@option("--cpu", type=click.IntRange(0), help="Pin the latency measurement to this core.")
@flag("--energy", "Joules of an inference, too, by RAPL or a Raspberry Pi 5's meter.")
@forms(
    json="Print JSON, schema edgegolf.bench/1.",
    markdown="Print a Markdown table.",
    csv="Print CSV.",
)
@to_file("Write there instead.")
@option("--min-accuracy", type=FRACTION, help="Gate: exit code 1 below, such as 98.5%.")
@option("--max-size", type=click.IntRange(0), help="Gate: bytes.")
@option("--max-latency", type=click.FloatRange(0), help="Gate: p50 in microseconds.")
@option("--baseline", type=FILE, help="Gate: earlier --json output.")
@usual("--tolerance", "10%", "Allowed above the baseline.", type=FRACTION)
@usual(
    "--gate",
    "size,p50,accuracy",
    "What the baseline gates; leave p50 out on shared runners.",
    names=("figures",),
    type=NAMES,
)
@flag("--profile", "Instead: where the time goes, by type of operator.")
@option("--junit", type=OUTPUT, help="Write results and gate there as JUnit XML.")
@option(
    "--on", "hosts", multiple=True, metavar="[USER@]HOST", help="Measure there; may be repeated."
)
@device_options
@option(
    "--emulate",
    type=click.Choice(["aarch64", "armv7l", "cortex-m0", "cortex-m4", "rv32imac", "atmega328p"]),
    help="Count the instructions of an inference on emulated Raspberry Pis instead, or of C on a "
    "microcontroller.",
)
@click.pass_context
def bench(
    context: click.Context,
    files: tuple[str, ...],
    dataset: str | None,
    form: str | None,
    output: Path | None,
    baseline: Path | None,
    junit: Path | None,
    profile: bool,
    hosts: tuple[str, ...],
    emulate: str | None,
    **given: Any,
) -> int:
    """Measure size, memory, latency and accuracy of model files.

    \b
    edgegolf bench models/mnist/tight_resnet/int8.tflite
    edgegolf bench tight_resnet --runtime litert,onnxruntime --threads 1,2
    edgegolf bench models/mnist/tight_resnet/*.onnx --json -o before.json
    edgegolf bench models/mnist/tight_resnet/*.onnx --baseline before.json
    edgegolf bench tight_resnet --on pi@raspberrypi.local
    edgegolf bench tight_resnet --emulate aarch64
    edgegolf bench models/mnist/tight_resnet/int8.tflite --emulate cortex-m0
    """
    from edgegolf.bench.bench import BenchOptions
    from edgegolf.bench.bench import bench as run_bench
    from edgegolf.bench.gate import Gate, read_baseline, row_name, verdicts
    from edgegolf.records import to_json
    from edgegolf.report.bench_table import bench_notes, bench_table, to_csv, to_markdown
    from edgegolf.report.gate_lines import gate_markdown
    from edgegolf.workspace import find_files

    paths = [path for file in files for path in find_files(file, dataset)]
    if profile:
        taken = {
            "profile",
            "files",
            "dataset",
            "providers",
            "threads",
            "min_time",
            "form",
            "output",
        }
        _refuse(context, "with --profile", lambda name: name not in taken)
        how = (given["providers"], given["threads"], given["min_time"])
        return _profile(paths, *how, form, output)
    if emulate is not None:
        heeded = ("emulate", "files", "dataset", "runtimes", "form", "output", "baseline",
                  "tolerance", "junit")  # fmt: skip
        _refuse(context, "with --emulate", lambda name: name not in heeded)
        from edgegolf.emulation.cores import CORES

        counted = (paths, emulate, given["runtimes"])
        if emulate in CORES:
            _refuse(context, f"on {emulate}", {"baseline", "tolerance", "junit"}.__contains__)
            return _count_on_core(*counted, form, output)
        return _count_instructions(counted, form, output, baseline, given["tolerance"], junit)

    def of(*names: str) -> dict[str, Any]:
        return {name: given[name] for name in names}

    gate = Gate(
        baseline=None if baseline is None else read_baseline(baseline),
        **of("min_accuracy", "max_size", "max_latency", "tolerance", "figures"),
    )
    names = ("runtimes", "providers", "threads", "min_time", "accuracy", "cpu", "energy")
    options = BenchOptions(**of(*names))
    if hosts:
        from edgegolf.deploy.host import parse_host
        from edgegolf.deploy.remote_bench import bench_on

        reached = [parse_host(host, **of(*DEVICE)) for host in hosts]
        results = bench_on(reached, paths, options)
    else:
        _refuse(context, "without --on", DEVICE.__contains__)
        results = tuple(run_bench(paths, options))
    judged = verdicts(results, gate)
    texts = {"json": to_json, "markdown": to_markdown, "csv": to_csv}
    if form is None and output is None:
        _print(bench_table(results))
        for note in bench_notes(results):
            _say(note)
    else:
        below = "\n" + gate_markdown(judged) if form == "markdown" and judged else ""
        _write(texts[form or "json"](results) + below, output, form)
    return _tell_gate(results, judged, row_name, junit)


def _profile(
    paths: Sequence[Path],
    providers: Sequence[str],
    threads: Sequence[int],
    seconds: float,
    form: str | None,
    output: Path | None,
) -> int:
    from edgegolf.bench.profile import profile
    from edgegolf.progress import track
    from edgegolf.records import to_json
    from edgegolf.report.bench_table import profile_table

    if form not in (None, "json"):
        raise click.UsageError(f"--profile prints a table or --json, not --{form}")
    cases = [(path, provider, n) for path in paths for provider in providers for n in threads]
    results = [profile(*case, seconds) for case in track(cases, "profiling")]
    if form is None and output is None:
        _print(*map(profile_table, results))
    else:
        _write(to_json(results), output)
    return 0


def _count_instructions(
    counted: tuple[Sequence[Path], str, Sequence[str]],
    form: str | None,
    output: Path | None,
    baseline: Path | None,
    tolerance: float,
    junit: Path | None,
) -> int:
    from edgegolf.emulation.gate import instruction_verdicts, row_name
    from edgegolf.emulation.instructions import count_instructions, read_instructions
    from edgegolf.records import to_json
    from edgegolf.report.gate_lines import gate_markdown
    from edgegolf.report.instruction_tables import instructions_table

    if form == "csv":
        raise click.UsageError("--emulate prints a table, --json or --markdown, not --csv")
    before = None if baseline is None else read_instructions(baseline)
    results = count_instructions(*counted)
    judged = () if before is None else instruction_verdicts(results, before, tolerance)
    table = instructions_table(results)
    if form is None and output is None:
        _print(table)
    else:
        markdown = gate_markdown(judged) or table.markdown()
        _write(markdown if form == "markdown" else to_json(results), output, form)
    return _tell_gate(results, judged, row_name, junit)


def _tell_gate(
    results: Sequence[Any],
    judged: Sequence[Verdict],
    name: Callable[[Any], str],
    to_junit: Path | None,
) -> int:
    """Say what failed, and which limits were broken; the exit code."""
    from edgegolf.files import write_atomically
    from edgegolf.report.gate_lines import gate_lines
    from edgegolf.report.junit import junit

    if to_junit is not None:
        write_atomically(to_junit, junit(results, judged, name))
    failed = _tell_errors(results)
    for line in gate_lines(judged):
        _say(line)
    return failed or (GATE_FAILED if any(verdict.failures for verdict in judged) else 0)


def _count_on_core(
    paths: Sequence[Path], core: str, runtimes: Sequence[str], form: str | None, output: Path | None
) -> int:
    from edgegolf.emulation.cores import count_on_core
    from edgegolf.records import to_json
    from edgegolf.report.instruction_tables import cores_table

    if form not in (None, "json"):
        raise click.UsageError(f"{core} gives a table or --json, not --{form}")
    if runtimes not in ((), ("c",)):
        raise click.UsageError(f"on {core} there is only the runtime c")
    counts = count_on_core(paths, core)
    if form is None and output is None:
        _print(cores_table(counts))
    else:
        _write(to_json(counts), output)
    return _tell_errors(counts)


def _tell_errors(results: Iterable[BenchResult | CoreCount | Instructions]) -> int:
    """Say why there are no figures; the exit code."""
    errors = dict.fromkeys(result.error for result in results if result.error is not None)
    for error in errors:
        _say(f"error: {error}")
    return BAD_INPUT if errors else 0


def _refuse(context: click.Context, why: str, is_useless: Callable[[str], bool]) -> None:
    """Refuse options that would have no effect."""
    typed = click.core.ParameterSource.COMMANDLINE
    for each in context.command.params:
        name = each.name or ""
        if context.get_parameter_source(name) is typed and is_useless(name):
            raise click.UsageError(f"{each.opts[0]} has no effect {why}")


@cli.command("run")
@argument("model", type=FILE)
@option("--dataset", help="That it was trained on: accuracy is told, too.")
@option("--calibration-data", "samples", help="Samples of a model of your own, as export takes.")
@option("--out", type=FOLDER, help="Folder of the files.  [default: MODEL.exported]")
@usual("--formats", "tflite,onnx", "What to write.", type=NAMES)
@option(
    "--dtype",
    "dtypes",
    type=NAMES,
    help="What to write.  [default: float32,float16,int8; of Keras models dynamic, too]",
)
@usual("--min-time", 0.5, "Seconds of timed inferences.", type=click.FloatRange(0.01))
def run_model(
    model: Path,
    dataset: str | None,
    samples: str | None,
    out: Path | None,
    formats: tuple[str, ...],
    dtypes: tuple[str, ...] | None,
    min_time: float,
) -> int:
    """Export a model to every format, quickly, and bench each file.

    \b
    edgegolf run my.keras --calibration-data samples.npz
    edgegolf run models/mnist/linear/model.keras --dataset mnist --formats onnx
    """
    from edgegolf.api import bench, export
    from edgegolf.report.file_tables import run_table
    from edgegolf.workspace import exported_files

    folder = out or model.with_suffix(".exported")
    has_converter = model.suffix in (".keras", ".h5")
    dtypes = dtypes or ("float32", "float16", *(("dynamic",) if has_converter else ()), "int8")
    published = export(model, folder, samples, dataset, formats=formats, dtypes=dtypes, quick=True)
    results = bench(*exported_files(folder), accuracy=dataset, min_time=min_time)
    failures = {name: error.message for name, error in published.failures.items()}
    _print(run_table(results, published.made, failures))
    for sentence in published.notes:
        _say(sentence)
    return GATE_FAILED if failures or any(result.error for result in results) else 0


@cli.command()
@argument("file", type=FILE)
@argument("new", type=FILE, required=False)
@forms(
    json="Print JSON, schema edgegolf.anatomy/1, of two files edgegolf.anatomy_change/1.",
    markdown="Print a Markdown table.",
)
@to_file("Write there instead.")
@option("--picture", type=PICTURE, help="Draw a treemap of FILE: .svg or .png.")
def anatomy(
    file: Path, new: Path | None, form: str | None, output: Path | None, picture: Path | None
) -> None:
    """Tell where every byte of a model file goes.

    And what sharing would save. Of two files: what grew and shrank in NEW, by cause.

    \b
    edgegolf anatomy models/mnist/tight_resnet/int8.tflite
    edgegolf anatomy models/mnist/tight_resnet/int8.onnx --picture anatomy.svg
    edgegolf anatomy models/mnist/cnn-2/int8.tflite models/mnist/cnn-2/int8.onnx
    """
    from edgegolf.anatomy.anatomy import anatomy as dissect
    from edgegolf.anatomy.anatomy import anatomy_change
    from edgegolf.report import file_tables, page_charts, pictures

    if picture is not None:
        pictures.draw(page_charts.anatomy(dissect(file)), picture)
    if new is not None:
        change = anatomy_change(file, new)
        texts = {"markdown": file_tables.anatomy_change_markdown}
        _show_or_write(change, form, output, texts, file_tables.anatomy_change_table(change))
        return
    found = dissect(file)
    table = file_tables.anatomy_table(found)
    _show_or_write(found, form, output, {"markdown": lambda _: table.markdown()}, table)


@cli.command()
@argument("file", type=FILE)
@as_json("outline")
@option("--picture", type=Output(".svg"), help="Draw it: .svg.")
def show(file: Path, as_json: bool, picture: Path | None) -> None:
    """List a file's operators: loops, sharing, skips.

    \b
    edgegolf show models/mnist/tight_resnet/int8.tflite
    edgegolf show models/mnist/tight_resnet/int8.onnx --picture net.svg
    """
    from edgegolf.bench.outline import outline
    from edgegolf.files import write_atomically
    from edgegolf.report.outline_views import outline_svg, outline_table

    found = outline(file)
    if picture is not None:
        write_atomically(picture, outline_svg(found))
    _show(found, as_json, outline_table(found))


@cli.command()
@argument("file", type=FILE)
@to_file("FILE.golfed.SUFFIX if absent.")
@flag("--keep-names", "Keep the names of tensors and nodes.")
@flag("--keep-metadata", "Keep metadata and descriptions.")
@flag("--keep-signatures", "Keep the signatures of a .tflite file.")
@flag("--portable", "An .onnx file that OpenVINO and OpenCV read, too.")
@flag("--unverified", "Write a file that no runtime could compare.")
@as_json("golf")
def golf(file: Path, output: Path | None, as_json: bool, **how: bool) -> None:
    """Rewrite a model file into fewer bytes, outputs bit-identical.

    \b
    edgegolf golf models/mnist/tight_resnet/float32.tflite -o smaller.tflite
    edgegolf golf models/mnist/tight_resnet/float32.onnx --keep-names -o s.onnx
    """
    from edgegolf.api import golf as golf_file
    from edgegolf.progress import Work
    from edgegolf.report.file_tables import golf_table

    with Work(f"golfing {file}"):
        result = golf_file(file, output, **how)
    _show(result, as_json, golf_table(result))


@cli.command()
@argument("first", type=FILE, metavar="A")
@argument("second", type=FILE, metavar="B")
@option("--data", help="A samples.npz, or a data set's name; random inputs if absent.")
@as_json("compare")
@to_file("Write .html, .md, .csv, .svg or .png.")
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
    from edgegolf.report.compare_table import check_output, compare_tables, write_comparison

    if output is not None:
        check_output(output)
    with Work(f"comparing {first.name} and {second.name}"):
        found = compare_models(first, second, data)
    if output is not None:
        write_comparison(found, output)
        _say(f"{output}: {output.stat().st_size:,} bytes")
    _show(found, as_json, *compare_tables(found))


@cli.command()
@argument("model", type=FILE)
@to_file("The .c file, or the project's folder; MODEL's name if absent.", Output(is_folder=None))
@usual(
    "--optimize",
    "size",
    "Code and weights, time, or arena and stack.",
    type=click.Choice(["size", "speed", "ram"]),
)
@usual(
    "--target",
    "portable",
    "What it shall run on; x86 and aarch64: for speed, with vectors.",
    type=click.Choice(["portable", "avr", "cortex-m", "riscv", "aarch64", "x86"]),
)
@option(
    "--project",
    type=click.Choice(["arduino", "platformio", "pico", "zephyr"]),
    help="Write a project that takes images on a serial line and answers with classes.",
)
@option("--fits", metavar="DEVICE", help="Refuse what this does not hold, say atmega328p.")
@flag("--check", "Compile it here, compare every bit of the outputs.")
@flag("--selftest", "Add two inputs with their outputs, and a test.")
@as_json("c")
def c(model: Path, as_json: bool, **how: Any) -> None:
    """Write an int8 file as C, say for an Arduino.

    \b
    edgegolf c models/mnist/double_cnn-2/int8-smallest.tflite -o digits.c --check
    edgegolf c models/mnist/tight_resnet/int8.tflite -o net.c --optimize speed
    edgegolf c models/mnist/pooled_linear/int8.tflite --project arduino -o digits
    """
    from edgegolf.export.c_files import write_c
    from edgegolf.progress import Work
    from edgegolf.report.file_tables import c_table

    with Work(f"writing {model} as C"):
        result = write_c(model, **how)
    _show(result, as_json, c_table(result))


@cli.command()
@argument("net", shell_complete=net_names)
@option("--dataset", help="Data set; MNIST where it is to be had, else digits.")
@usual("--iterations", "1,2,4,8,16,32", "To grow over.", type=COUNTS)
@option("--figures", type=FOLDER, help="Folder for the pictures.")
@flag("--circuit", "Synthesize each net that grows, too: half an hour.")
@as_json("footprint")
@to_file("Write the JSON there.")
def footprint(
    net: str,
    dataset: str | None,
    iterations: tuple[int, ...],
    figures: Path | None,
    circuit: bool,
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

    found = measure_footprint(net, load_dataset(dataset), iterations, circuit)
    if figures is not None:
        draw_footprint(found, figures)
    if as_json or output is not None:
        _write(to_json(found), output)
    if not as_json:
        _print(*footprint_tables(found))


@cli.command(cls=Resumable)
@argument("file", metavar="FILE.tflite", type=FILE)
@to_file("Folder.  [default: FILE.circuit]", FOLDER)
@option(
    "--device",
    "devices",
    multiple=True,
    type=click.Choice(["up5k", "hx8k", "ecp5-25k", "ecp5-85k"]),
    help="What to synthesize for; may be repeated.  [default: up5k]",
)
@usual("--parallel", 4, "Multiply-accumulates in a cycle.", type=click.IntRange(1, 32))
@usual("--weights", "rom", "In memory, or as constants.", type=click.Choice(["rom", "logic"]))
@option("--simulate", type=click.IntRange(1, 100_000), help="Compare the logits of so many images.")
@flag("--synthesize", "With yosys and nextpnr: cells and clock.")
@usual("--seeds", 5, "Placements.", type=COUNT)
@option("--twin", type=FILE, help="The same for another file.")
@as_json("circuit")
@click.pass_context
def circuit(
    context: click.Context,
    file: Path,
    output: Path | None,
    devices: tuple[str, ...],
    parallel: int,
    weights: str,
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
    from edgegolf.report.file_tables import circuit_table

    if not synthesize:
        _refuse(context, "without --synthesize", ("devices", "seeds").__contains__)
    chosen = devices or ("up5k",) if synthesize else ()
    folder = output or file.with_suffix(".circuit")
    made = make_circuit(file, folder, parallel, simulate or 0, chosen, seeds, weights)
    if twin is not None:
        beside = folder.with_name(f"{folder.name}.twin")
        other = make_circuit(twin, beside, parallel, simulate or 0, chosen, seeds, weights)
        made = replace(made, twin=other)
    _show(made, as_json, *(circuit_table(each) for each in (made, made.twin) if each is not None))


@cli.command()
@argument("host", metavar="[USER@]HOST")
@argument("models", nargs=-1, metavar="FILE|NET...", shell_complete=model_names)
@option("--dataset", help=NET_DATASET)
@device_options
@option("--runtime", help="What runs the models there, instead of the preferred one.")
@option(
    "--wheels",
    type=click.Path(path_type=Path, file_okay=False),
    help="For a device without internet: fetch its packages into this folder and copy them.",
)
@forms(
    "action",
    rollback="Use the release before again.",
    status="Show what is there.",
    remove="Take away all that was put there.",
)
def deploy(
    host: str,
    models: tuple[str, ...],
    dataset: str | None,
    runtime: str | None,
    wheels: Path | None,
    action: str | None,
    **reach: Any,
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
    device = parse_host(host, **reach)
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
@argument("results", nargs=-1, type=FILE, metavar="[RESULTS]...")
@usual("-o", Path("report.html"), "The page.", names=("--output",), type=OUTPUT)
@option("--figures", type=FOLDER, help="Folder for each chart as a picture.")
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
@as_json("frontier")
def frontier(as_json: bool) -> None:
    """List the fewest bytes of a whole file at an accuracy.

    A file holds an accuracy on the test images if its lower bound does (Wilson's, 95 %).

    \b
    edgegolf frontier
    """
    from edgegolf.cards import read_card
    from edgegolf.report.frontier import LEVELS, files_of, levels, levels_table
    from edgegolf.workspace import bundled_or_own

    found = {}
    for name in LEVELS:
        folders = (path.parent for path in bundled_or_own(f"{name}/*/card.json"))
        found[name] = levels(name, files_of(filter(None, map(read_card, folders))))
    tables = [levels_table(each, f"Fewest bytes on {name}") for name, each in found.items()]
    _show([each for of_one in found.values() for each in of_one], as_json, *tables)


@cli.command()
@argument("images", nargs=-1, required=True, metavar="IMAGE...", type=FILE)
@option("--model", "models", multiple=True, metavar="FILE|NET", help="Instead of those deployed.")
@option("--dataset", help="Ask the nets that were trained on it.")
@as_json("guess")
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
@argument("models", nargs=-1, metavar="[FILE|NET]...", shell_complete=model_names)
@option("--dataset", help="Only the nets that were trained on it.")
@usual("--host", "127.0.0.1", "Address to listen on.")
@option(
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


def _show(record: Record | Sequence[Record], as_json: bool, *tables: RenderableType) -> None:
    """Print a record: for people, or as JSON."""
    from edgegolf.records import to_json

    if as_json:
        click.echo(to_json(record), nl=False)
    else:
        _print(*tables)


def _show_or_write(
    found: R, form: str | None, output: Path | None, texts: Mapping[str, Any], *tables: Any
) -> None:
    """In one of the forms; else for people, and as JSON into a file."""
    from edgegolf.records import to_json

    texts = {"json": to_json, **texts}
    if form in texts or output is not None:
        _write(texts.get(form or "", to_json)(found), output, form)
    if form not in texts:
        _print(*tables)


def _write(text: str, output: Path | None, form: str | None = None) -> None:
    """Print a text, or write it and say what was written: JSON if nothing else was asked for."""
    from edgegolf.files import write_atomically

    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        write_atomically(output, text)
        kind = {"csv": "CSV", "markdown": "Markdown"}.get(form or "", "JSON")
        _say(f"{output}: {kind}, {output.stat().st_size:,} bytes")
