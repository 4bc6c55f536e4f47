"""Custom operators: functions of the caller that compute operators of other domains.

They are registered in this process (``registration``) and belong to it: nothing of them is kept on
disk. Everybody who meets a node asks `find` for the version that its model imports.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import InvalidModel


@dataclass(frozen=True)
class TensorType:
    """Element type and shape of a tensor, as shape rules take and give them.

    Attributes
    ----------
    dtype : dtype
        Anything that numpy takes for one; ``object`` for strings.
    shape : tuple
        Sizes. One that a model leaves open can be added, subtracted, multiplied and divided
        (``//``, ``%``) like a number, and compared for equality. A rule gives None for a size, or
        for all of the shape, that only the result itself shows.
    """

    dtype: Any
    shape: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        if self.shape is not None:
            object.__setattr__(self, "shape", tuple(self.shape))

    def __str__(self) -> str:
        return f"{self.dtype}{'' if self.shape is None else list(self.shape)}"

    def fits(self, array: np.ndarray) -> bool:
        """Tell whether an array is of this type and shape."""
        if array.dtype != self.dtype:
            return False
        if self.shape is None:
            return True
        pairs = zip(self.shape, array.shape, strict=False)
        return len(self.shape) == array.ndim and all(a is None or a == b for a, b in pairs)


class OpenSize:
    """A size that is not known while types are inferred: what is computed of it is not, either."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def _other(self, _: Any) -> OpenSize:
        return OpenSize()

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _other
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _other

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, OpenSize) and bool(self.name) and
                                 self.name == other.name)  # fmt: skip

    def __hash__(self) -> int:
        return hash(self.name)


Rule = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class CustomOperator:
    """An operator of the caller's.

    Attributes
    ----------
    domain, name : str
    version : int
        Version of the domain from which on it is meant.
    function : callable
        Positional parameters are inputs, others attributes. Without a rule it computes an element
        from elements, else arrays from arrays.
    rule : callable, optional
        Gives the `TensorType` of each result from those of the inputs.
    dtype : dtype, optional
        Of the result of an elementwise one, where it is not the first input's.
    """

    domain: str
    name: str
    version: int
    function: Callable[..., Any]
    rule: Rule | None = None
    dtype: Any = None
    serial: int = field(default_factory=itertools.count().__next__, init=False)

    @property
    def title(self) -> str:
        """Name for error messages."""
        return f"operator {self.domain}.{self.name}"

    @property
    def key(self) -> str:
        """Name that no other one has, also of those that it has taken the place of."""
        return f"{self.name}#{self.serial}"

    @property
    def is_elementwise(self) -> bool:
        """Whether the function computes single elements."""
        return self.rule is None

    @property
    def attributes(self) -> list[str]:
        """Names of the attributes that the function has parameters for."""
        return [p.name for p in self._parameters if p.kind == p.KEYWORD_ONLY]

    @functools.cached_property
    def _parameters(self) -> list[inspect.Parameter]:
        return list(signature(self.function).parameters.values())

    def check(self, where: str, inputs: int, attributes: Iterable[str]) -> None:
        """Refuse a node with other inputs or attributes than the function takes.

        Raises
        ------
        InvalidModel
        """
        kinds = inspect.Parameter
        positional = [p for p in self._parameters if p.kind <= kinds.POSITIONAL_OR_KEYWORD]
        least = sum(p.default is p.empty for p in positional)
        has_rest = any(p.kind == kinds.VAR_POSITIONAL for p in self._parameters)
        if inputs < least or (inputs > len(positional) and not has_rest):
            most = "or more" if has_rest else f"to {len(positional)}"
            raise InvalidModel(f"{where} has {inputs} inputs; its function takes {least} {most}")
        named = {p.name: p for p in self._parameters if p.kind == kinds.KEYWORD_ONLY}
        given = set(attributes)
        takes_any = any(p.kind == kinds.VAR_KEYWORD for p in self._parameters)
        for name in sorted(given - named.keys()) if not takes_any else ():
            raise InvalidModel(
                f"{where}: its function has no parameter {name!r} for this attribute"
            )
        for name, parameter in named.items():
            if parameter.default is parameter.empty and name not in given:
                raise InvalidModel(f"{where} lacks the attribute {name!r}")

    def results(
        self, inputs: Sequence[TensorType | None], attributes: Mapping[str, Any]
    ) -> list[TensorType]:
        """Describe the results; all that the rule raises is passed on."""
        if self.rule is None:
            given = [each for each in inputs if each is not None]
            shape = _broadcast([each.shape for each in given])
            return [TensorType(given[0].dtype if self.dtype is None else self.dtype, shape)]
        parameters = signature(self.rule).parameters
        takes_any = any(p.kind == p.VAR_KEYWORD for p in parameters.values())
        named = {k: v for k, v in attributes.items() if takes_any or k in parameters}
        found = self.rule(*inputs, **named)
        results = [found] if isinstance(found, TensorType) else list(found)
        for each in results:
            if not isinstance(each, TensorType):
                raise TypeError(f"its shape rule gives a {type(each).__name__}, not a TensorType")
        return results

    def compute(self, *inputs: Any, **attributes: Any) -> tuple[Any, ...]:
        """Compute the results from arrays, and compare them with what the rule says.

        Raises
        ------
        ValueError
            A result has another type or shape.
        """
        if self.rule is None:
            given = [each for each in inputs if each is not None]
            present = tuple(each is not None for each in inputs)
            y = _of_arrays(bound(self, present, tuple(sorted(attributes.items()))))(*given)
            return (np.asarray(y).astype(given[0].dtype if self.dtype is None else self.dtype),)
        found = self.function(*inputs, **attributes)
        results = tuple(found) if isinstance(found, tuple | list) else (found,)
        if all(each is None or isinstance(each, np.ndarray | np.generic) for each in inputs):
            types = [None if x is None else TensorType(x.dtype, x.shape) for x in inputs]
            _compare(results, self.results(types, attributes))
        return results


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the parameters of a function, also of one that numba compiles."""
    return inspect.signature(getattr(function, "py_func", function))


def _compare(results: Sequence[Any], expected: Sequence[TensorType]) -> None:
    if len(results) != len(expected):
        raise ValueError(f"the function gives {len(results)} results, its rule {len(expected)}")
    for index, (result, wanted) in enumerate(zip(results, expected, strict=True)):
        if isinstance(result, np.ndarray | np.generic):
            if wanted.fits(np.asarray(result)):
                continue
            got = str(TensorType(result.dtype, result.shape))
        else:
            got = f"a {type(result).__name__}"
        raise ValueError(f"result {index} of the function is {got}, its shape rule says {wanted}")


def _broadcast(shapes: Sequence[Any]) -> tuple[Any, ...] | None:
    """Shape of elementwise results, None where a rank is not known."""
    if any(shape is None for shape in shapes):
        return None
    rank = max(map(len, shapes), default=0)
    sizes: list[Any] = []
    for axis in range(-rank, 0):
        own = [shape[axis] for shape in shapes if len(shape) >= -axis and shape[axis] != 1]
        numbers = [size for size in own if isinstance(size, int)]
        is_one = all(size == own[0] for size in own)
        sizes.append(1 if not own else numbers[0] if numbers else own[0] if is_one else OpenSize())
    return tuple(sizes)


# --- functions of elements --------------------------------------------------------------------


@functools.cache
def bound(
    operator: CustomOperator, present: tuple[bool, ...], attributes: tuple[tuple[str, Any], ...]
) -> Callable[..., Any]:
    """Return the function of elements, compiled when it is called, with its attributes set.

    Numbers are float32, as they are in a model, so that they widen no result.
    """
    from numba import njit

    function = operator.function
    options = getattr(function, "targetoptions", {})
    function = getattr(function, "py_func", function)
    operands = [f"x{i}" if is_there else "None" for i, is_there in enumerate(present)]
    rest = signature(function).parameters.values()
    scope: dict[str, Any] = {}
    given, arguments = dict(attributes), []
    for parameter in sorted(rest, key=lambda p: p.kind == p.VAR_POSITIONAL):
        if parameter.kind == parameter.VAR_POSITIONAL:
            arguments += operands
        elif parameter.kind != parameter.KEYWORD_ONLY and operands:
            arguments.append(operands.pop(0))
        else:
            value = given.get(parameter.name, parameter.default)
            scope[f"a{len(arguments)}"] = np.float32(value) if isinstance(value, float) else value
            arguments.append(f"a{len(arguments)}")
    names = [f"x{i}" for i, is_there in enumerate(present) if is_there]
    scope["function"] = njit(_all_positional(function), fastmath=options.get("fastmath", False))
    text = f"lambda {', '.join(names)}: function({', '.join(arguments)})"
    return njit(eval(text, scope))


def _all_positional(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that takes by position what it takes by name: numba has no such thing."""
    code = function.__code__
    flat = code.replace(
        co_argcount=code.co_argcount + code.co_kwonlyargcount, co_kwonlyargcount=0
    )  # fmt: skip
    made = types.FunctionType(
        flat, function.__globals__, function.__name__, None, function.__closure__
    )
    made.__module__ = function.__module__
    return made


@functools.cache
def _of_arrays(function: Any) -> Callable[..., Any]:
    from numba import vectorize

    return vectorize(function.py_func)


# --- the table --------------------------------------------------------------------------------


_versions: dict[tuple[str, str], dict[int, CustomOperator]] = {}
"""Registered operators by domain and name, then by version."""


def enter(operator: CustomOperator) -> None:
    """Register an operator; one of its version takes its place."""
    _versions.setdefault((operator.domain, operator.name), {})[operator.version] = operator


def find(domain: str, name: str, version: int) -> CustomOperator | None:
    """Return the operator that a model means by a name that imports a version of its domain."""
    known = _versions.get((domain, name))
    if known is None:
        return None
    return known.get(max((each for each in known if each <= version), default=0))


def versions_of(domain: str, name: str) -> list[int]:
    """List the versions of an operator that are registered."""
    return sorted(_versions.get((domain, name), ()))


def all_operators() -> list[CustomOperator]:
    """List all registered operators."""
    return [each for versions in _versions.values() for each in versions.values()]


def how_to_register(domain: str, name: str, version: int) -> str:
    """Say what makes an unknown operator known."""
    if domain == "com.microsoft.nchwc":
        return (
            "it is a layout that onnxruntime has for the processor it ran on: save the model at "
            "level ORT_ENABLE_EXTENDED instead"
        )
    known = versions_of(domain, name)
    if known:
        return (
            f"it is registered for version {', '.join(map(str, known))} of {domain!r}, and the "
            f"model imports version {version}"
        )
    return (
        f'register a function that computes it by @sardonyx.operator("{domain}", "{name}", '
        f"version={version}) before the model is opened (docs/custom_operators.md)"
    )


def attribute_values(node: Any) -> dict[str, Any]:
    """Read the attributes of a NodeProto: numbers, strings, arrays, and lists of them.

    Raises
    ------
    InvalidModel
        One is a graph or the like.
    """
    return {each.name: _value(each, node.name) for each in node.attribute}


def _value(attribute: Any, node: str) -> Any:
    import onnx

    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    if isinstance(value, int | float):
        return value
    items = list(value) if not hasattr(value, "DESCRIPTOR") else None
    if items is None or any(hasattr(item, "DESCRIPTOR") for item in items):
        raise InvalidModel(f"attribute {attribute.name!r} of node {node!r} is a graph or a type")
    return tuple(i.decode(errors="replace") if isinstance(i, bytes) else i for i in items)
