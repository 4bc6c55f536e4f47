"""Node data for Model Explorer (ai.google.dev/edge/model-explorer): times on the model's graph.

Its format: https://github.com/google-ai-edge/model-explorer/wiki/4.-API-Guide, "custom node data".
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import InvalidArgument

_GRADIENT = [
    {"stop": 0.0, "bgColor": "#f6f5f3"},
    {"stop": 0.2, "bgColor": "#f2c6b6"},
    {"stop": 1.0, "bgColor": "#b4492b"},
]


def node_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return microseconds of each node of the model; those of one step have equal shares of it.

    Parameters
    ----------
    data : mapping
        What `collect.collect` returns.
    """
    median = data["columns"].index("median_ns")
    members: dict[int, list[str]] = {}
    for name, _, step, _ in data["nodes"]:
        if step >= 0:
            members.setdefault(step, []).append(name)
    results = {
        name: {"value": round(data["steps"][step][median] / len(names) / 1000, 3)}
        for step, names in members.items()
        for name in names
    }
    title = f"sardonyx: µs, {data['threads']} thread{'s' if data['threads'] > 1 else ''}"
    return {"main_graph": {"name": title, "results": results, "gradient": _GRADIENT}}


def write(data: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write node data as a JSON file.

    Raises
    ------
    InvalidArgument
        The file cannot be written.
    """
    try:
        Path(path).write_text(json.dumps(node_data(data), indent=1), encoding="utf-8")
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be written: {error.strerror}") from error
