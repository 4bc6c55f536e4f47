"""Ancestor of the operators here: attributes of the node's version, and the types of the standard.

numpy computes in the type that it is given, and so does onnx's reference implementation: sums of
float16 stall at 2048 and squares overflow at 256. Here numbers of 16 bits are widened before an
operator computes and its results are rounded once, whatever it does between.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx.reference.op_run import OpRun
from onnx.reference.ops import load_op
from onnx.reference.ops._op import OpRunBinary
from onnx.reference.ops.aionnxml import load_op as load_ml_op

from .contents import check_of

ML = "ai.onnx.ml"

HALVES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


class Operator(OpRun):
    """Operator whose results have the types that its schema declares.

    ``_run`` gets float16 and bfloat16 as float32. What it returns becomes an array of the type
    that the schema derives from the inputs, or says outright. ``version`` is the opset version
    that introduced the node's schema, whose defaults attributes have.
    """

    widens = True
    """Whether float16 and bfloat16 come as float32."""

    def __init__(self, onnx_node: onnx.NodeProto, run_params: dict[str, Any]) -> None:
        version = run_params["opsets"][onnx_node.domain]
        schema = onnx.defs.get_schema(onnx_node.op_type, version, onnx_node.domain)
        super().__init__(onnx_node, run_params, schema)
        self.schema, self.version = schema, schema.since_version
        self._given, self._made = _type_names(schema.inputs), _type_names(schema.outputs)
        self._attributes = {name: getattr(self, name) for name in self.attributes_names_}
        self._tables: dict[Any, Any] = {}
        self._check = check_of(onnx_node)

    def run(self, *inputs: Any, **options: Any) -> tuple[Any, ...]:
        """Compute the outputs; None for those that the node does not name."""
        if self._check is not None:
            self._check(self, inputs)
        given = [_widened(x) for x in inputs] if self.widens else inputs
        results = self.compute(*given, **options)
        return tuple([self._typed(result, i, inputs) for i, result in enumerate(results)])

    def compute(self, *inputs: Any, **options: Any) -> tuple[Any, ...]:
        """Compute from widened inputs."""
        if self.has_linked_attribute:  # they are those of the function that calls it
            return tuple(super().run(*inputs, **options))
        return tuple(self._run(*inputs, **self._attributes, **options))

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what attributes alone say under a key, made the first time."""
        if key not in self._tables:
            self._tables[key] = make()
        return self._tables[key]

    def _typed(self, value: Any, index: int, inputs: tuple[Any, ...]) -> Any:
        """Return a result of the type that the schema declares for an output."""
        if value is None or isinstance(value, list | dict):
            return value
        array = value if type(value) is np.ndarray else np.asarray(value)
        if array.dtype.kind in "OUS":
            return array.astype(object, copy=False)  # strings as everywhere
        kind = self._kind(self._made[min(index, len(self._made) - 1)], inputs)
        if kind is None or kind.kind in "OUS" or kind == array.dtype:
            return array
        return array.astype(kind)

    def _kind(self, name: str, inputs: tuple[Any, ...]) -> np.dtype[Any] | None:
        """Element type that the schema says, or that the first input has of the same variable."""
        if not name:
            return None
        for at, value in enumerate(inputs):
            if self._given[min(at, len(self._given) - 1)] == name and isinstance(value, np.ndarray):
                return value.dtype
        return _fixed(name)

    def _check_and_fix_outputs(self, res: tuple[Any, ...]) -> tuple[Any, ...]:
        return res  # `run` gives results their types


class Mover(Operator):
    """Operator whose results are inputs, parts of them, or values of one type, such as strings.

    It writes into no input, and its results have their types already.
    """

    def run(self, *inputs: Any, **options: Any) -> tuple[Any, ...]:
        """Compute the outputs."""
        return self.compute(*inputs, **options)


class Original(Operator):
    """Operator of onnx's own, with types of the standard."""

    def __init__(self, onnx_node: onnx.NodeProto, run_params: dict[str, Any]) -> None:
        super().__init__(onnx_node, run_params)
        load = load_ml_op if onnx_node.domain == ML else load_op
        version = run_params["opsets"][onnx_node.domain]
        inner: Any = load(onnx_node.domain, onnx_node.op_type, version)
        self.inner = inner(onnx_node, run_params)
        self._inner_run = _direct(self.inner)

    def compute(self, *inputs: Any, **options: Any) -> tuple[Any, ...]:
        """Let onnx's own compute."""
        return tuple(self._inner_run(*inputs, **options))

    def _run(self, *inputs: Any, **attributes: Any) -> tuple[Any, ...]:
        raise NotImplementedError


def _direct(operator: OpRun) -> Callable[..., Any]:
    """Return what an operator of onnx's computes by, without the checks around that `run` makes.

    They take longer than most operators, and all that they compare is checked here.
    """
    if operator.has_linked_attribute or operator.has_subgraph or operator.need_context():
        return operator.run
    runner = type(operator).run
    if runner is OpRun.run:
        attributes = {name: getattr(operator, name) for name in operator.attributes_names_}
        return functools.partial(operator._run, **attributes)
    # Ancestors of operators of one and of two operands, which have no attributes.
    return operator._run if runner.__module__ == OpRunBinary.__module__ else operator.run


def originals(domain: str, names: set[str]) -> list[type[OpRun]]:
    """Make classes for operators of a domain that onnx's reference implements."""
    load = load_ml_op if domain == ML else load_op
    found: list[type[OpRun]] = []
    for name in sorted(names):
        try:
            version = onnx.defs.get_schema(name, domain=domain).since_version
            implementation = load(domain, name, version)
        except Exception:  # there is none, or a function which the evaluator runs
            continue
        if isinstance(implementation, type):
            found.append(type(name, (Original,), {"op_domain": domain}))
    return found


def _type_names(formals: Any) -> list[str]:
    """Types of inputs or outputs by the schema, the last for all that follow; "" for any type."""
    return [each.type_str if each.is_homogeneous else "" for each in formals] or [""]


def _widened(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype in HALVES:
        return value.astype(np.float32)
    return value


_FIXED: dict[str, np.dtype[Any] | None] = {"tensor(string)": None}


def _fixed(type_str: str) -> np.dtype[Any] | None:
    """Element type of ``tensor(int64)`` and the like; None for type variables and sequences."""
    if type_str not in _FIXED:
        name = type_str.removeprefix("tensor(").removesuffix(")").upper()
        code = onnx.TensorProto.DataType.Value(name) if type_str.startswith("tensor(") else None
        _FIXED[type_str] = None if code is None else onnx.helper.tensor_dtype_to_np_dtype(code)
    return _FIXED[type_str]
