from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch) -> Callable[[str], ModuleType]:
    """Import a file of the examples, which finds the others as when it is run."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module
