"""The interface of onnxruntime, for code that was written for it.

``import sardonyx.compat.onnxruntime as ort`` offers it by name; `install` lets
``import onnxruntime`` find it, as ``python -m sardonyx.compat script.py`` does for a whole program.
Sessions of models that sardonyx refuses are those of the real onnxruntime where that is installed,
unless the environment variable ``SARDONYX_COMPAT`` is ``strict``; `report` lists which, and why.
"""

from __future__ import annotations

from .import_hook import install, is_installed, uninstall
from .records import report

__all__ = ["install", "is_installed", "report", "uninstall"]
