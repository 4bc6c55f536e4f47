"""Import of onnx_ir, which leaves sympy for later: whatever imports onnx_ir imports this first.

onnx_ir computes with dimensions that are expressions by sympy, which takes 34 MB and 0.2 s to
import, most of what onnx_ir takes. Models have names and numbers there: few processes ever use it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from .forks import fork_lock


class _Deferred(ModuleType):
    """Stands for a module: the first use of an attribute imports it."""

    def __getattr__(self, name: str) -> Any:
        with fork_lock:
            self.leave()
            return getattr(import_module(self.__name__), name)

    def leave(self) -> None:
        """Let whoever imports the module from now on get the module itself."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]


@contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Let imports of modules wait until an attribute is used, but for what is imported already.

    Whoever imports such a module afterwards gets the module itself; where an attribute is used at
    once, it is imported at once.
    """
    stand_ins = [_Deferred(name) for name in names if name not in sys.modules]
    sys.modules.update({each.__name__: each for each in stand_ins})
    try:
        yield
    finally:
        for each in stand_ins:
            each.leave()


with fork_lock, deferred("sympy", "onnx_ir._symbolic_shapes"):
    import onnx_ir  # noqa: F401
