"""The command ``bench``: its arguments, and the turns of its models."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any

import typer

from . import text
from .cli_inputs import collect_feeds, error_console
from .cli_options import Dims, Inputs
from .progress import status


def bench(
    models: Annotated[
        list[str], typer.Argument(help="ONNX files, or names of the zoo; none: the whole suite.")
    ] = [],  # noqa: B006
    input: Inputs = [],  # noqa: B006
    dim: Dims = [],  # noqa: B006
    threads: Annotated[list[int], typer.Option("--threads", "-t")] = [1, 2],  # noqa: B006
    batch: Annotated[
        list[int], typer.Option("--batch", "-b", help="Images at once; of models of the zoo.")
    ] = [1],  # noqa: B006
    throughput: Annotated[bool, typer.Option(help="Also several single images at once.")] = False,
    engine: Annotated[
        list[str], typer.Option(help="sardonyx, onnxruntime, openvino; default: all installed.")
    ] = [],  # noqa: B006
    seconds: Annotated[float, typer.Option(help="Time for each engine and model.")] = 2.0,
    footprint: Annotated[
        bool, typer.Option(help="Also measure session creation and peak memory.")
    ] = True,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Merge into this .md, .json and pictures beside it."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Leave out what the output has already.")] = False,
) -> None:
    """Measure models beside onnxruntime, and OpenVINO where it is installed."""
    from ..importers import load
    from . import bench as benchmarks
    from . import bench_processors as processors
    from . import bench_report

    progress = functools.partial(error_console.print, highlight=False)
    options: dict[str, Any] = {"seconds": seconds, "engines": engine, "with_footprint": footprint}
    chosen = benchmarks.settings(batch, threads, throughput)
    results: list[benchmarks.Result] = []
    earlier = processors.earlier(output) if output else []
    done = {(result.model, result.setting) for result in earlier} if resume else ()
    for name in models or benchmarks.SUITE:
        if Path(name).exists():
            feeds = collect_feeds(load(name), input, dim, 0)
            with status(f"measuring {name}", error_console):
                for setting in benchmarks.settings([1], threads, throughput):
                    results += benchmarks.bench(Path(name).stem, name, feeds, setting, **options)
            continue
        with status(f"measuring {name}", error_console):
            for measured in benchmarks.run_suite([name], chosen, progress, done=done, **options):
                results += measured
                if output is not None:  # what is measured stays, whatever happens next
                    processors.write(bench_report.merged(earlier, results), output)
    text.show(text.console(), *bench_report.tables(results))
    if output is not None:
        drawn, lacking = processors.publish(bench_report.merged(earlier, results), output)
        if not drawn:
            progress("no pictures: matplotlib is not installed")
        for name in lacking:
            progress(f"not measured yet: {name}")
    if any(result.engine == "sardonyx" and result.error for result in results):
        raise typer.Exit(1)
