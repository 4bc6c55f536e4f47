"""Writes what the tests of single layers found as a table, to the file ``LAYER_TABLE`` names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_found: dict[str, str] = {}
_ROW = re.compile(r"^\| (\S+\.\S+) \| (.*) \|$", re.MULTILINE)

_HEAD = """# Layers

Each layer is converted alone, with its usual options, run, and compared with its framework
(relative 1e-4, absolute 1e-5). Written by the tests:

    LAYER_TABLE=docs/layers.md python -m pytest tests/layers

| layer | agrees |
|---|---|
"""


@pytest.fixture
def attempt(record_property: Any) -> Callable[..., None]:
    """Check a layer that agrees, or fails for the reason given, and note it for the table."""

    def attempt(layer: str, check: Callable[[], None], reason: str | None) -> None:
        record_property("layer", layer)
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
        _found[layer] = "yes" if report.passed else f"no: {reason.removeprefix('reason: ')}"


def pytest_sessionfinish() -> None:
    """Write the table, if it is wanted; rows of layers that were not tested stay."""
    place = os.environ.get("LAYER_TABLE")
    if not place or not _found:
        return
    path = Path(place)
    rows = _ROW.findall(path.read_text()) if path.exists() else []
    found = {**dict(rows), **_found}
    lines = (f"| {layer} | {found[layer]} |\n" for layer in sorted(found, key=str.lower))
    path.write_text(_HEAD + "".join(lines))
