"""Command line: ``sardonyx convert | optimize | run | tune | bench | profile | ...``.

A command reads its arguments, calls one function of this package and prints what it returns.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import __version__
from . import text
from .cli_bench import bench
from .cli_compare import compare
from .cli_doctor import doctor
from .cli_inputs import Group, collect_feeds, error_console, random_inputs
from .cli_options import Device, Dims, Inputs, Level, Output, Precision, Runs, Seed, Source, Threads
from .cli_quantize import quantize
from .cli_report import report
from .cli_serve import serve
from .progress import status

if TYPE_CHECKING:
    import onnx_ir as ir

console = text.console()

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run, optimize, measure and check ONNX models.",
)


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"sardonyx {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    operators: Annotated[
        Path | None,
        typer.Option(
            help="Python file that registers custom operators; it is run.",
            dir_okay=False,
            exists=True,
        ),
    ] = None,
) -> None:
    if operators is not None:
        import runpy

        runpy.run_path(str(operators))


def _load(source: str) -> ir.Model:
    from ..importers import load

    return load(source)


@app.command()
def convert(
    source: Source,
    output: Output,
    opset: Annotated[int | None, typer.Option(help="An older opset, for older consumers.")] = None,
    input: Inputs = [],  # noqa: B006
    dim: Dims = [],  # noqa: B006
    seed: Seed = 0,
    check: Annotated[bool, typer.Option(help="Compare with the framework.")] = True,
    labels: Annotated[Path | None, typer.Option(help="Names of the classes, a line each.")] = None,
    signature: Annotated[
        str | None, typer.Option(help="Of a SavedModel or .tflite file with several.")
    ] = None,
    graph_input: Annotated[
        list[str], typer.Option(help="Nodes of a frozen graph to begin at.")
    ] = [],  # noqa: B006
    graph_output: Annotated[
        list[str], typer.Option(help="Nodes of a frozen graph to end at.")
    ] = [],  # noqa: B006
    config: Annotated[
        Path | None, typer.Option(help="Architecture (JSON) for a Keras file of weights alone.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="What Keras 1 or 2 ran on: tensorflow, theano or cntk.")
    ] = None,
    submodule: Annotated[
        str | None, typer.Option(help="Part of a PyTorch module to convert.")
    ] = None,
    run_code: Annotated[
        bool, typer.Option("--run-code", help="Run Python code that the file brings. Dangerous.")
    ] = False,
) -> None:
    """Convert a model of any framework to ONNX, and compare the two.

    Inputs and sizes are what they are compared on, and what a PyTorch file is traced with.
    """
    from .convert import convert as run_conversion
    from .convert import print_conversion
    from .import_options import file_options

    options = file_options(
        source, input, dim, seed, run_code,
        signature=signature, inputs=graph_input, outputs=graph_output, config=config,
        backend=backend, submodule=submodule,
    )  # fmt: skip
    names = labels.read_text().splitlines() if labels is not None else []
    with status(f"converting {source}", error_console):
        conversion = run_conversion(
            source, output, target_opset=opset, seed=seed, check=check, labels=names, **options
        )
    print_conversion(conversion, console)
    nodes = sum(conversion.operators.values())
    size = text.size(output.stat().st_size)
    console.print(f"{output}: {nodes} nodes, {size}", highlight=False)
    if conversion.outputs and not conversion.agrees:
        raise typer.Exit(1)


@app.command()
def optimize(
    source: Source,
    output: Output,
    level: Level = "all",
    verify: Annotated[
        bool, typer.Option("--verify", help="Run the model before and after every pass.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what was fused, and why a near-miss was not.")
    ] = False,
    opset: Annotated[int | None, typer.Option(help="An older opset, for older consumers.")] = None,
    fold_limit: Annotated[
        int | None, typer.Option(help="Bytes that a constant computed ahead may have.")
    ] = None,
    input: Inputs = [],  # noqa: B006
    dim: Dims = [],  # noqa: B006
    seed: Seed = 0,
) -> None:
    """Optimize a model, and show what each pass did; inputs and sizes are for --verify."""
    from ..importers import save
    from ..optimizer.pipeline import optimize_with_report
    from . import reference

    model = _load(source)
    before = sum(1 for _ in model.graph.all_nodes())
    options: dict[str, Any] = {"level": level, "explain": explain, "fold_limit": fold_limit}
    if verify or input or dim:
        options["verify"] = collect_feeds(model, input, dim, seed)
        if reference.is_available():
            options["runner"] = reference.run_unoptimized
    with status(f"optimizing {source}", error_console):
        optimized, report = optimize_with_report(model, **options)
        save(optimized, output, opset)
    table = text.table("", "pass", "changes:", "ms:")
    idle = [each for each in report.passes if not each.changes]
    for each in report.passes:
        if each.changes:
            table.add_row(each.name, str(each.changes), f"{1e3 * each.seconds:.1f}")
    milliseconds = f"{sum(1e3 * each.seconds for each in idle):.1f}"
    table.add_row(f"{len(idle)} others", "0", milliseconds)
    text.show(console, table)
    for reason in report.explanations:
        console.print(reason, highlight=False, markup=False, soft_wrap=True)
    after = sum(1 for _ in optimized.graph.all_nodes())
    size = text.size(output.stat().st_size)
    checked = ", the results of every pass verified" if "verify" in options else ""
    console.print(
        f"{output}: {before} nodes became {after}, {size}{checked}",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def run(
    model: Source,
    input: Inputs = [],  # noqa: B006
    dim: Dims = [],  # noqa: B006
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the outputs to an .npz file.")
    ] = None,
    threads: Threads = None,
    precision: Precision = "fp32",
    level: Level = "all",
    device: Device = "cpu",
    seed: Seed = 0,
) -> None:
    """Run a model once, on files or random inputs."""
    import numpy as np

    from ..runtime.session import Session
    from . import outputs

    loaded = _load(model)
    options: Any = {"precision": precision, "optimize": level, "device": device}
    with Session(loaded, threads=threads, **options) as session:
        names = [port.name for port in session.get_outputs()]
        feeds = collect_feeds(loaded, input, dim, seed)
        with status(f"running {model}", error_console):
            results = dict(zip(names, session.run(None, feeds), strict=True))
    random_inputs.clear()
    text.show(console, outputs.statistics(results))
    if output is not None:
        with output.open("wb") as file:
            np.savez(file, **results)


@app.command()
def generate(
    folder: Annotated[Path, typer.Argument(help="With model.onnx and tokenizer.json.")],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="Text to continue.")],
    tokens: Annotated[int, typer.Option(min=1, help="Tokens after which to stop.")] = 128,
    temperature: Annotated[
        float, typer.Option(help="0 takes the most probable token; larger ones vary more.")
    ] = 0.0,
    top_k: Annotated[int, typer.Option(help="Of so many most probable tokens; 0 for all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Of those that are so probable together.")] = 1.0,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Continue a text by a decoder; the tokens are shown as they come."""
    from .generate import Sampling, TextModel

    sampling = Sampling(temperature, top_k, top_p, seed)
    clock = [time.perf_counter()]
    model = TextModel.open(folder, threads)
    clock.append(time.perf_counter())
    for piece in model.write(prompt, most=tokens, sampling=sampling):
        typer.echo(piece, nl=False)
        clock.append(time.perf_counter())
    typer.echo()
    error_console.print(text.pace(clock), style="dim", highlight=False)


@app.command()
def profile(
    model: Source,
    input: Inputs = [],  # noqa: B006
    dim: Dims = [],  # noqa: B006
    threads: Annotated[int, typer.Option("--threads", "-t")] = 1,
    precision: Precision = "fp32",
    device: Device = "cpu",
    runs: Runs = 20,
    top: Annotated[int, typer.Option(help="Show only the most expensive steps.")] = 0,
    export: Annotated[
        list[Path],
        typer.Option("--export", "-e", help="Write .trace.json (Chrome), .json or .csv."),
    ] = [],  # noqa: B006
    reference: Annotated[bool, typer.Option(help="Measure onnxruntime too.")] = True,
    seed: Seed = 0,
) -> None:
    """Show time, roofline, onnxruntime's time and error of every step."""
    from ..runtime.session import Session
    from . import report as profile_report
    from .profile import profile as measure

    for path in export:
        profile_report.require_known_format(path)
    loaded = _load(model)
    with Session(loaded, threads=threads, precision=precision, device=device) as session:
        feeds = collect_feeds(loaded, input, dim, seed)
        with status(f"measuring {model}", error_console):
            measured = measure(
                session, feeds, model=Path(model).name, runs=runs, with_reference=reference,
                source=loaded, path=model if model.endswith(".onnx") else None,
            )  # fmt: skip
    random_inputs.clear()
    profile_report.print_profile(measured, console, top)
    for path in export:
        profile_report.export(measured, path)
        console.print(f"written: {path}", highlight=False)


@app.command()
def tune(
    model: Source,
    input: Inputs = [],  # noqa: B006
    dim: Dims = [],  # noqa: B006
    threads: Threads = None,
    precision: Precision = "fp32",
    level: Level = "all",
    again: Annotated[bool, typer.Option("--again", help="Measure what was measured.")] = False,
) -> None:
    """Measure which form of each layer is fastest, for sessions with ``tune=True``."""
    from .tune import print_tuning, tune_model

    progress = functools.partial(error_console.print, highlight=False)
    with status(f"measuring forms of {model}", error_console):
        tuning = tune_model(
            model, input, dim, again, progress, threads=threads, precision=precision, optimize=level
        )
    print_tuning(tuning, model, console)


@app.command()
def inspect(model: Source) -> None:
    """Show inputs, outputs, operators, parameters, and what runs where."""
    from .inspection import print_summary, summarize

    print_summary(summarize(_load(model)), model, console)


@app.command()
def machine(
    threads: Annotated[list[int], typer.Option("--threads", "-t")] = [1, 2],  # noqa: B006
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Measure how good the choices of forms are (minutes).")
    ] = False,
    models: Annotated[
        list[str], typer.Option("--model", help="With --check: ONNX files, or names of the zoo.")
    ] = [],  # noqa: B006
) -> None:
    """Measure this machine, in 20 seconds, and show its units, bandwidths and cost model."""
    from .machine import print_machine

    if not check:
        print_machine(threads, console, fresh)
        return
    from .choice_check import NETWORKS, check_choices

    with status("measuring") as tell:
        check_choices(models or NETWORKS, threads[0], console, tell)


for command in (quantize, compare, bench, report, doctor, serve):
    app.command()(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ``arguments`` are those of the process when not given."""
    app(args=None if arguments is None else list(arguments), prog_name="sardonyx")


if __name__ == "__main__":
    main()
