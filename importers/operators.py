"""ONNX operators that are applied to values of a framework while a model is traced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Operator = Callable[
    [str, Sequence[Any], dict[str, Any], Sequence[tuple[Sequence[Any], str]]], Sequence[Any]
]
"""Applies an operator, given its name, inputs (None where one is left out), attributes, and shape
and type of each output. The framework's exporter writes the operator as it is; nothing is computed.
"""
