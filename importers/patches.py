"""Patches of frameworks: functions that are replaced while a model is traced, and put back after.

A patch reaches into code that its framework may change with any release. Each is therefore declared
with its reason and the versions it was tested with, in one file per framework, and says so when
its target is gone.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import ImportFailed
from ..logs import exclusive


@dataclass(frozen=True)
class Patch:
    """One function or method of a framework that is replaced while a model is traced.

    Attributes
    ----------
    package : str
        The package, as it is installed.
    target : str
        Dotted name of the function, or of the method in the class that defines it.
    replacement : callable
        Returns the new function, given the original one.
    reason : str
        Why it is replaced.
    tested : str
        Versions of the package (such as "3.15") that the patch was tested with; `pyproject.toml`
        excludes newer ones.
    """

    package: str
    target: str
    replacement: Callable[[Any], Any]
    reason: str
    tested: str

    def owner(self) -> Any:
        """Import what holds the target: a module or a class.

        Raises
        ------
        ImportFailed
            The installed version has no such function.
        """
        path, _, name = self.target.rpartition(".")
        first, *parts = path.split(".")
        try:
            owner = importlib.import_module(first)
            dotted = first
            for part in parts:
                dotted += f".{part}"
                if not hasattr(owner, part):
                    importlib.import_module(dotted)
                owner = getattr(owner, part)
        except (ImportError, AttributeError) as error:
            raise self._gone() from error
        if name not in vars(owner):  # an inherited method is not this class's to replace
            raise self._gone()
        return owner

    def _gone(self) -> ImportFailed:
        try:
            installed = importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            installed = "of unknown version"
        return ImportFailed(
            f"{self.package} {installed} has no {self.target}, which is replaced while a model is "
            f"traced ({self.reason}); tested with {self.package} {self.tested}: install that "
            "version"
        )


@contextmanager
def applied(patches: Iterable[Patch]) -> Iterator[None]:
    """Replace functions of frameworks for a while, by one thread at a time.

    Raises
    ------
    ImportFailed
        A target is gone in the installed version. Nothing is replaced then.
    """
    with exclusive, ExitStack() as stack:
        for patch in patches:
            owner, name = patch.owner(), patch.target.rpartition(".")[2]
            original = vars(owner)[name]
            replacement = patch.replacement(original)
            stack.callback(setattr, owner, name, original)
            setattr(owner, name, replacement)
        yield
