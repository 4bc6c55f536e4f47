"""The command ``serve``: its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import text
from .cli_inputs import error_console
from .cli_options import Device, Level, Precision, Threads

if TYPE_CHECKING:
    from .serving.repository import Repository

Models = Annotated[
    list[Path],
    typer.Argument(help="Files of models, or folders: x.onnx, x/model.onnx, x/1/model.onnx."),
]


def serve(
    models: Models,
    host: Annotated[str, typer.Option(help="0.0.0.0 for all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any.")] = 8000,
    max_batch: Annotated[
        int, typer.Option(min=1, help="Rows that requests are joined to; 1 joins none.")
    ] = 1,
    max_wait_ms: Annotated[
        float, typer.Option(min=0, help="That a request waits for others to be joined with.")
    ] = 0.0,
    max_request_bytes: Annotated[int, typer.Option(min=1, help="Of a request's body.")] = 64 << 20,
    max_queue: Annotated[int, typer.Option(min=1, help="Requests that wait for a model.")] = 256,
    timeout: Annotated[
        float, typer.Option(min=0.001, help="Seconds for sending a request, and for its result.")
    ] = 60.0,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Clients may not load and unload models.")
    ] = False,
    threads: Threads = None,
    precision: Precision = "fp32",
    level: Level = "all",
    device: Device = "cpu",
) -> None:
    """Serve models over HTTP: Open Inference Protocol v2, metrics, and a page to try them."""
    from ..errors import UnsupportedModel

    try:
        from .serving.model_files import find_models
        from .serving.options import ServingOptions
        from .serving.server import listen
        from .serving.server import serve as run
    except ImportError as error:
        raise UnsupportedModel(
            f"serving needs more packages: pip install 'sardonyx[serve]' ({error})"
        ) from error
    find_models(models)
    options = ServingOptions(
        threads=threads,
        precision=precision,
        level=level,
        device=device,
        max_batch=max_batch,
        max_wait=max_wait_ms / 1e3,
        max_request_bytes=max_request_bytes,
        max_queue=max_queue,
        timeout=timeout,
        read_only=read_only,
    )
    listener = listen(host, port)
    name, number = listener.getsockname()[:2]
    address = f"http://{f'[{name}]' if ':' in name else name}:{number}"
    error_console.print(f"listening on {address}", highlight=False)
    run(models, options, listener, tell=_tell)


def _tell(repository: Repository) -> None:
    """Print what is served, and what is not."""
    table: Any = text.table("", "model", "version", "state", "reason")
    for entry in repository.entries():
        table.add_row(entry.file.name, entry.file.version, entry.state, entry.reason)
    text.show(error_console, table)
