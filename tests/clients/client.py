"""Client of onnxruntime: a package that runs the models it ships through that interface."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

Run = Callable[[], Any]


@dataclass(frozen=True)
class Client:
    """A package, and what of it runs.

    Attributes
    ----------
    package : str
        Distribution, as pip names it.
    what : str
        What runs, on which input.
    open : callable
        From a number of threads to a function without arguments, which returns dicts and lists of
        texts, numbers and arrays. It imports the package; None leaves the threads to the client.
    tolerance : float
        Largest difference of numbers, relative to the largest of their array, or 1 if that is less.
    has_threads : bool
        The client lets its user choose the number of threads.
    needs : tuple of str
        Modules that it imports.
    """

    package: str
    what: str
    open: Callable[[int | None], Run]
    tolerance: float = 1e-4
    has_threads: bool = False
    needs: tuple[str, ...] = field(default=())

    def missing(self) -> str:
        """Return why it cannot run here; an empty text where it can."""
        try:
            metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return f"{self.package} is not installed"
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"{self.package} needs {', '.join(absent)}" if absent else ""

    def version(self) -> str:
        """Return the version that is installed."""
        return metadata.version(self.package)


def names() -> list[str]:
    """Return the names of all clients: the modules that begin with ``run_``."""
    files = Path(__file__).parent.glob("run_*.py")
    return sorted(file.stem.removeprefix("run_") for file in files)


def client(name: str) -> Client:
    """Import one."""
    module = importlib.import_module(f"{__package__}.run_{name}")
    found: Client = module.CLIENT
    return found
