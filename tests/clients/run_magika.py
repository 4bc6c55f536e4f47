"""magika: tells what kind of file some bytes are."""

from __future__ import annotations

from typing import Any

from .client import Client, Run
from .inputs import documents


def _open(threads: int | None) -> Run:
    from magika import Magika

    model = Magika()
    files = documents()

    def run() -> Any:
        found = {name: model.identify_bytes(content) for name, content in files.items()}
        return {name: [str(each.output.label), each.score] for name, each in found.items()}

    return run


CLIENT = Client("magika", "kinds of ten files", _open, needs=("click",))
