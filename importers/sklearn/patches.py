"""Patches of skl2onnx."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...patches import Patch


def _with_integers(make_node: Callable[..., Any]) -> Callable[..., Any]:
    def replacement(*args: Any, **attributes: Any) -> Any:
        return make_node(*args, **{name: _integers(value) for name, value in attributes.items()})

    return replacement


def _integers(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    return [int(item) if isinstance(item, bool | np.bool | np.integer) else item for item in value]


MAKE_NODE = Patch(
    "skl2onnx",
    "skl2onnx.common._container.make_node",
    _with_integers,
    "protobuf refuses booleans in lists of integers, such as those of HistGradientBoosting's trees",
    tested="1.20",
)
