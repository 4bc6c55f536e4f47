"""Patches of PyTorch."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from ...errors import UnsupportedModel
from ...patches import Patch

_TERMS = 400
"""Limit of the expressions of sizes. Those of a mobile vision transformer have 140; where windows
are padded, shifted and merged they have thousands after a few layers, and take minutes."""


def _nothing(original: Callable[..., None]) -> Callable[..., None]:
    def replacement(*values: Any) -> None:
        pass

    return replacement


GRAPHS = Patch(
    "torch",
    "torch._C._jit_onnx_log",
    _nothing,
    "the TorchScript exporter prints its graph where it fails, whether its log is on or not",
    tested="2.13",
    during="a module is exported as TorchScript",
)


def _limited(original: Callable[..., Any]) -> Callable[..., Any]:
    import sympy

    def replacement(environment: Any, expression: Any, *args: Any, **kwargs: Any) -> Any:
        parts = sympy.preorder_traversal(expression)
        if next(itertools.islice(parts, _TERMS, None), None) is not None:
            raise UnsupportedModel(
                f"the sizes of its tensors are expressions of more than {_TERMS} terms of those of "
                "its inputs"
            )
        return original(environment, expression, *args, **kwargs)

    return replacement


EXPRESSIONS = Patch(
    "torch",
    "torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_expr",
    _limited,
    "PyTorch takes minutes for expressions of sizes that are very long",
    tested="2.13",
    during="the dimensions that a module leaves open are sought",
)
