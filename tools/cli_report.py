"""Command ``sardonyx report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import text
from .cli_inputs import collect_feeds, random_inputs
from .cli_options import Dims, Inputs, Precision, Runs, Seed, existing_or_zoo

_PAIR = 2


def report(
    sources: Annotated[
        list[str], typer.Argument(help="A model; with --compare two models or reports.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")],
    input: Inputs = [],  # noqa: B006
    dim: Dims = [],  # noqa: B006
    threads: Annotated[int, typer.Option("--threads", "-t")] = 1,
    precision: Precision = "fp32",
    runs: Runs = 20,
    reference: Annotated[bool, typer.Option(help="Measure onnxruntime and OpenVINO too.")] = True,
    compare: Annotated[bool, typer.Option("--compare", help="Compare two.")] = False,
    node_data: Annotated[
        Path | None, typer.Option(help="Also write the times for Model Explorer (JSON).")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Write one HTML file: where the time of a model goes, and what was done with it."""
    from .html_report import node_data as explorer
    from .html_report.page import compared, data_of, write

    if len(sources) != (_PAIR if compare else 1):
        raise typer.BadParameter("one model, or two with --compare")

    def collected(source: str) -> dict[str, object]:
        if source.endswith(".html"):
            return data_of(source)
        return _measured(source, input, dim, threads, precision, runs, reference, seed)

    found = [collected(source) for source in sources]
    write(compared(*found) if compare else found[0], output)
    text.console().print(f"{output}: {text.size(output.stat().st_size)}", highlight=False)
    if node_data is not None:
        explorer.write(found[0], node_data)


def _measured(
    source: str,
    inputs: list[str],
    dims: list[str],
    threads: int,
    precision: str,
    runs: int,
    reference: bool,
    seed: int,
) -> dict[str, object]:
    from ..importers import load
    from ..runtime.session import Session
    from .html_report.collect import collect
    from .progress import status

    path = existing_or_zoo(source)
    model = load(path)
    with Session(model, threads=threads, precision=precision) as session, status(source) as tell:
        found = collect(
            model,
            session,
            collect_feeds(model, inputs, dims, seed),
            name=Path(source).name,
            path=path if path.endswith(".onnx") else None,
            runs=runs,
            with_reference=reference,
            tell=lambda what: tell(f"{source}: {what}"),
        )
    random_inputs.clear()
    return found
