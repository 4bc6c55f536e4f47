"""Lookup tables of TensorFlow, as LabelEncoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Tables = Mapping[bytes, tuple[np.ndarray, np.ndarray]]
"""Keys and values of tables by their shared names."""

_KINDS = {"i": "int64s", "f": "floats", "S": "strings", "O": "strings"}
"""Attributes of LabelEncoder by kinds of NumPy's dtypes."""


def table_handlers(tables: Tables) -> dict[str, tuple[Callable[..., None], list[Any]]]:
    """Return handlers of the nodes that read tables; see `operators.HANDLERS`."""

    def find(graph: Any, node: Any, name: str, args: Any) -> None:
        _find(graph, node, *_contents(tables, node))

    def size(graph: Any, node: Any, name: str, args: Any) -> None:
        keys, _ = _contents(tables, node)
        output = node.output[0]
        count = graph.make_const(f"{node.name}/size", np.array(len(keys), np.int64)).output[0]
        graph.remove_node(node.name)
        graph.make_node("Identity", [count], outputs=[output])

    return {"LookupTableFindV2": (find, []), "LookupTableSizeV2": (size, [])}


def _contents(tables: Tables, node: Any) -> tuple[np.ndarray, np.ndarray]:
    source = node.inputs[0]
    while source.type == "Identity":
        source = source.inputs[0]
    shared_name = source.get_attr_value("shared_name")
    if shared_name not in tables:
        raise ValueError("the contents of its table are not known: only those of static tables are")
    return tables[shared_name]


def _find(graph: Any, node: Any, keys: np.ndarray, values: np.ndarray) -> None:
    """Look keys up by LabelEncoder, in integers of 64 bits."""
    from onnx import TensorProto
    from tf2onnx import utils

    if not node.inputs[2].is_const():
        raise ValueError("its default is not a constant")
    default = node.inputs[2].get_tensor_value(as_list=False)
    key, output = node.input[1], node.output[0]
    shape, kind = graph.get_shape(output) or graph.get_shape(key), graph.get_dtype(output)
    attributes = {
        f"keys_{_kind(keys)}": _listed(keys),
        f"values_{_kind(values)}": _listed(values),
        f"default_{_kind(values).removesuffix('s')}": _listed(np.reshape(default, 1))[0],
    }
    graph.remove_node(node.name)
    if keys.dtype.kind == "i":
        key = graph.make_node("Cast", [key], attr={"to": TensorProto.INT64}).output[0]
    wide = values.dtype.kind == "i" and kind != TensorProto.INT64
    graph.make_node(
        "LabelEncoder",
        [key],
        outputs=None if wide else [output],
        name=(found := utils.make_name(node.name)),
        domain="ai.onnx.ml",
        shapes=[shape],
        dtypes=[TensorProto.INT64 if wide else kind],
        attr=attributes,
    )
    if wide:
        encoded = graph.get_node_by_name(found).output[0]
        graph.make_node(
            "Cast", [encoded], outputs=[output], attr={"to": kind}, shapes=[shape], dtypes=[kind]
        )


def _kind(array: np.ndarray) -> str:
    if array.dtype.kind not in _KINDS:
        raise ValueError(f"LabelEncoder knows no {array.dtype}")
    return _KINDS[array.dtype.kind]


def _listed(array: np.ndarray) -> list[Any]:
    return list(array.tolist())
