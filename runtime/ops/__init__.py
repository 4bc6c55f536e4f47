"""Operators, one family a file: rules, shape rule and lowering of each side by side.

A file enters its operators into the table when it is imported, and all files here are.
"""

import importlib
import pkgutil

from .registry import OPERATORS, computes, computes_wide, has_kernel

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["OPERATORS", "computes", "computes_wide", "has_kernel"]
