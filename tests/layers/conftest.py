"""Writes what the tests of single layers found as a table, to the file ``LAYER_TABLE`` names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_COLUMNS = {"": "agrees", "torch": "on PyTorch", "jax": "on JAX"}
"""Heads of the columns: a layer of PyTorch, or of Keras on TensorFlow; Keras on the others."""

_found: dict[tuple[str, str], str] = {}

_HEAD = f"""# Layers

Each layer is converted alone, with its usual options, run, and compared with its framework
(relative 1e-4, absolute 1e-5). Written by the tests:

    export LAYER_TABLE=docs/layers.md
    python -m pytest tests/layers
    KERAS_BACKEND=torch python -m pytest tests/layers/test_keras_layers.py
    KERAS_BACKEND=jax python -m pytest tests/layers/test_keras_layers.py

| layer | {" | ".join(_COLUMNS.values())} |
|---|---|---|---|
"""


@pytest.fixture
def attempt(record_property: Any) -> Callable[..., None]:
    """Check a layer that agrees, or fails for the reason given, and note it for the table."""

    def attempt(
        layer: str, check: Callable[[], None], reason: str | None, column: str = ""
    ) -> None:
        record_property("layer", (layer, column))
        try:
            check()
        except Exception:
            if reason is not None:
                pytest.xfail(reason)
            raise
        assert reason is None, "it works: take it off the list"

    return attempt


def pytest_runtest_logreport(report: Any) -> None:
    """Note the outcome of a test of a layer."""
    layer = dict(report.user_properties).get("layer")
    if layer is not None and report.when == "call":
        skipped = (
            report.longrepr[2].removeprefix("Skipped: ")
            if report.skipped and isinstance(report.longrepr, tuple)
            else ""
        )
        reason = getattr(report, "wasxfail", "") or skipped or "differs or fails"
        _found[tuple(layer)] = "yes" if report.passed else f"no: {reason.removeprefix('reason: ')}"


def pytest_sessionfinish() -> None:
    """Write the table, if it is wanted; what was not tested stays."""
    place = os.environ.get("LAYER_TABLE")
    if not place or not _found:
        return
    path = Path(place)
    table = _read(path.read_text()) if path.exists() else {}
    for (layer, column), outcome in _found.items():
        table.setdefault(layer, dict.fromkeys(_COLUMNS, ""))[column] = outcome
    lines = (
        f"| {layer} | {' | '.join(table[layer].values())} |\n"
        for layer in sorted(table, key=str.lower)
    )
    path.write_text(_HEAD + "".join(lines))


def _read(text: str) -> dict[str, dict[str, str]]:
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return {
        layer.strip(): dict(zip(_COLUMNS, map(str.strip, cells), strict=True))
        for layer, *cells in rows[1:]
    }
