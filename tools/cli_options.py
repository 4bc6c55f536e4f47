"""Options of the command line that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def existing_or_zoo(source: str) -> str:
    """Return the path of a model that is one, or that is named in the zoo."""
    from . import zoo

    return source if Path(source).exists() else zoo.resolve(source)


Source = Annotated[
    str,
    typer.Argument(help="What `convert` takes, or a name of the zoo.", callback=existing_or_zoo),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="File to write.")]
Inputs = Annotated[
    list[str],
    typer.Option(
        "--input",
        "-i",
        help="name=array.npy, array.npy (the first input), arrays.npz, or name=16000.",
    ),
]
Dims = Annotated[
    list[str],
    typer.Option("--dim", "-d", help="Sizes for random inputs: input=1,3,224,224 or dimension=4."),
]
Seed = Annotated[int, typer.Option(help="Of random inputs.")]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        "-t",
        help="Default: SARDONYX_THREADS, else the cores that this process may use.",
    ),
]
Precision = Annotated[
    str, typer.Option(help="fp32, strict, bf16x3, fast, bf16, bf16_weights or int8_activations.")
]
Device = Annotated[str, typer.Option(help="What the model runs on: cpu or cuda.")]
Level = Annotated[str, typer.Option("--level", "-l", help="none, basic or all.")]
Runs = Annotated[int, typer.Option(min=1, help="Timed runs.")]
