"""The command ``compare``: its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import text
from .cli_inputs import collect_feeds, error_console
from .cli_options import Dims, Inputs, Level, Precision, Seed, Source, Threads
from .progress import status


def compare(
    model: Source,
    other: Annotated[
        str | None, typer.Argument(help="Another model, instead of onnxruntime.")
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Compare all tensors that both models have, by name.")
    ] = False,
    input: Inputs = [],  # noqa: B006
    dim: Dims = [],  # noqa: B006
    threads: Threads = None,
    precision: Precision = "fp32",
    level: Level = "all",
    rtol: Annotated[float, typer.Option(help="Relative tolerance.")] = 1e-4,
    atol: Annotated[float, typer.Option(help="Absolute tolerance.")] = 1e-5,
    bisect: Annotated[bool, typer.Option("--bisect", help="Find the first step at fault.")] = False,
    repro: Annotated[
        Path | None,
        typer.Option(help="Write that step as a model with its inputs into this folder."),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Compare the outputs with onnxruntime's, or two models; exit code 1 when they differ."""
    from ..importers import load
    from .compare import compare as check
    from .compare import print_comparison

    if other is not None or layers:
        _compare_models(model, other, collect_feeds(load(model), input, dim, seed), threads)
        return
    feeds = collect_feeds(load(model), input, dim, seed)
    with status(f"comparing {model}", error_console):
        comparison = check(
            model,
            feeds,
            rtol=rtol,
            atol=atol,
            bisect=bisect or repro is not None,
            threads=threads,
            precision=precision,
            optimize=level,
        )
    console = text.console()
    print_comparison(comparison, console, repro)
    if comparison.culprit is None and not comparison.agrees and (bisect or repro is not None):
        console.print("no step is at fault: all values between the steps agree")
    if not comparison.agrees:
        raise typer.Exit(1)


def _compare_models(model: str, other: str | None, feeds: Any, threads: int | None) -> None:
    from ..errors import InvalidArgument
    from .layer_comparison import compare_layers, print_layer_comparison

    if other is None:
        raise InvalidArgument("--layers compares two models: name another")
    with status(f"comparing {model} and {other}", error_console):
        found = compare_layers(model, other, feeds, threads=threads)
    print_layer_comparison(found, text.console())
