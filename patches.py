"""Patches of other packages: functions that are replaced for a while, and put back after.

A patch reaches into code that its package may change with any release. Each is therefore declared
with its reason and the versions it was tested with, in one file per package, and says so when its
target is gone.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from .errors import ImportFailed
from .logs import exclusive


@dataclass(frozen=True)
class Patch:
    """One function or method of another package that is replaced for a while.

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
    during : str
        What is done while it is replaced.
    error : type
        Exception that says that the target is gone.
    """

    package: str
    target: str
    replacement: Callable[[Any], Any]
    reason: str
    tested: str
    during: str = "a model is traced"
    error: type[Exception] = ImportFailed

    def owner(self) -> Any:
        """Import what holds the target: a module or a class.

        Raises
        ------
        Exception
            ``error``: the installed version has no such function.
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

    def _gone(self) -> Exception:
        try:
            installed = importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            installed = "of unknown version"
        return self.error(
            f"{self.package} {installed} has no {self.target}, which is replaced while "
            f"{self.during} ({self.reason}); tested with {self.package} {self.tested}: install "
            "that version"
        )


@contextmanager
def applied(
    patches: Iterable[Patch], lock: AbstractContextManager[Any] = exclusive
) -> Iterator[None]:
    """Replace functions of other packages for a while, by one thread at a time.

    Parameters
    ----------
    patches : iterable of Patch
    lock : context manager
        Held meanwhile.

    Raises
    ------
    Exception
        ``error`` of a patch whose target is gone; nothing is replaced then.
    """
    with lock, ExitStack() as stack:
        for patch in patches:
            owner, name = patch.owner(), patch.target.rpartition(".")[2]
            original = vars(owner)[name]
            replacement = patch.replacement(original)
            stack.callback(setattr, owner, name, original)
            setattr(owner, name, replacement)
        yield
