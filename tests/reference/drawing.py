"""Draws of shapes, element types and contents, and the table of what is drawn for each operator."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import onnx

OPSET = 24
ML_OPSET = 5
HALVES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
STRINGS = np.array(["", "a", "Ab", "über", "two words", "x,y", "Straße", "12"], object)


@dataclass
class Case:
    """Inputs (None: omitted; a list: a sequence) and attributes of a node.

    ``exact``: onnxruntime is asked in these very types. ``tolerance``: besides that of the type,
    relative to the largest value; ``absolute``: as it is.
    """

    inputs: list[Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    exact: bool = False
    tolerance: float = 0.0
    absolute: float = 0.0

    def __post_init__(self) -> None:
        self.inputs = [
            value if value is None or isinstance(value, list) else np.asarray(value)
            for value in self.inputs
        ]


class Draw:
    """A generator of random numbers, and the types that a version of an operator allows."""

    def __init__(
        self, seed: int | Sequence[int], name: str, domain: str = "", version: int = 0
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.name, self.domain = name, domain
        self.opset = version or self._any_opset()
        self.schema = onnx.defs.get_schema(name, self.opset, domain)
        self.version = self.schema.since_version

    def _any_opset(self) -> int:
        """Return an opset up to `OPSET`, often the newest, or the newest of all."""
        name, domain = self.name, self.domain
        if (domain, name) not in history():
            return every_version(name, domain)[-1]
        versions = versions_of(name, domain)
        newest = versions[-1]
        since = newest if self.chance(0.5) else self.pick(versions)
        later = [v for v in every_version(name, domain) if v > since]
        last = (OPSET if not domain else ML_OPSET) if not later else later[0] - 1
        return max(since, min(last, int(self.rng.integers(since, last + 1))))

    def pick(self, values: Sequence[Any]) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def int(self, low: int, high: int) -> int:
        """An integer between two, both included."""
        return int(self.rng.integers(low, high + 1))

    def kind(self, variable: str | None = None, leave: str = "OUSc") -> np.dtype[Any]:
        """One of the element types of a type variable (default: the first input's)."""
        kinds = self.kinds(variable, leave)
        common = [k for k in kinds if k in (np.dtype(np.float32), *HALVES[:1])]
        return self.pick(common if common and self.chance(0.4) else kinds)

    def kinds(self, variable: str | None = None, leave: str = "OUSc") -> list[np.dtype[Any]]:
        """All element types of a type variable that are drawn."""
        variable = variable or self.schema.inputs[0].type_str
        names: list[str] = [variable]
        for constraint in self.schema.type_constraints:
            if constraint.type_param_str == variable:
                names = list(constraint.allowed_type_strs)
        kinds = sorted({k for n in names for k in [element_type(n)] if k is not None}, key=str)
        return [k for k in kinds if k.kind not in leave and k.name not in UNKNOWN]

    def shape(
        self, low: int = 0, high: int = 4, sizes: Sequence[int] = (0, 1, 1, 2, 3, 4, 5)
    ) -> tuple[int, ...]:
        rank = self.int(low, high)
        if not self.chance(0.15):
            sizes = [s for s in sizes if s]
        return tuple(self.pick(sizes) for _ in range(rank))

    def array(
        self,
        shape: Sequence[int],
        kind: Any,
        *,
        special: float = 0.0,
        scale: float = 2.0,
        positive: bool = False,
        wide: bool = False,
        nan: bool = True,
    ) -> np.ndarray:
        """Contents of any element type, with NaN and infinities by ``special``.

        Integers are small, or with ``wide`` sometimes of any size.
        """
        kind, shape = np.dtype(kind), tuple(shape)
        if kind.kind == "O":
            return (
                self.rng.choice(STRINGS, shape) if shape else np.array(self.pick(STRINGS), object)
            )
        if kind.kind == "b":
            return np.asarray(self.rng.random(shape) < 0.5)
        if kind.kind in "iu":
            info = np.iinfo(kind)
            if wide and self.chance(0.2):
                return np.asarray(self.rng.integers(info.min, info.max, shape, kind, endpoint=True))
            return np.asarray(self.rng.integers(max(info.min, -9), min(info.max, 9), shape)).astype(
                kind
            )
        if kind.name.startswith(("int", "uint")):
            info = ml_dtypes.iinfo(kind)
            return np.asarray(self.rng.integers(int(info.min), int(info.max) + 1, shape)).astype(
                kind
            )
        values = np.asarray(self.rng.standard_normal(shape) * scale)
        values = np.abs(values) + 0.05 if positive else values
        if special and values.size and self.chance(special):
            flat = values.reshape(-1)
            for _ in range(self.int(1, 3)):
                flat[self.int(0, flat.size - 1)] = self.pick(
                    [np.inf, -np.inf, 0.0, -0.0, *[np.nan] * nan]
                )
        with np.errstate(all="ignore"):
            return np.asarray(values).astype(kind)

    def axis(self, rank: int) -> int:
        return self.int(-rank, rank - 1)

    def axes(self, rank: int, least: int = 0) -> list[int]:
        count = self.int(min(least, rank), rank)
        chosen = self.rng.permutation(rank)[:count]
        return [int(a) - (rank if self.chance(0.5) else 0) for a in chosen]

    def broadcast(self, shape: Sequence[int]) -> tuple[int, ...]:
        """A shape that broadcasts to another."""
        kept = list(shape)[self.int(0, len(shape)) if self.chance(0.4) else 0 :]
        return tuple(1 if self.chance(0.25) else n for n in kept)

    def some(self, **attributes: Any) -> dict[str, Any]:
        """Attributes that this version has, each with probability one half."""
        return {k: v for k, v in self.only(**attributes).items() if self.chance(0.5)}

    def only(self, **attributes: Any) -> dict[str, Any]:
        """Attributes that this version has, without those that are None."""
        return {
            k: v for k, v in attributes.items() if v is not None and k in self.schema.attributes
        }


UNKNOWN = {"complex64", "complex128", "float8_e8m0fnu", "int2", "uint2", "float4_e2m1fn"}

Drawer = Callable[[Draw], Case]
DRAWN: dict[tuple[str, str], Drawer] = {}


def draws(names: str, domain: str = "") -> Callable[[Drawer], Drawer]:
    """Enter a function that draws cases of some operators."""

    def enter(function: Drawer) -> Drawer:
        for name in names.split():
            assert (domain, name) not in DRAWN, name
            DRAWN[domain, name] = function
        return function

    return enter


@functools.cache
def every_version(name: str, domain: str) -> list[int]:
    """Versions in which an operator changed, or was withdrawn."""
    schemas = onnx.defs.get_all_schemas_with_history()
    return sorted(s.since_version for s in schemas if (s.name, s.domain) == (name, domain))


@functools.cache
def history() -> dict[tuple[str, str], list[int]]:
    found: dict[tuple[str, str], list[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        limit = {"": OPSET, "ai.onnx.ml": ML_OPSET}.get(schema.domain, 0)
        if schema.since_version <= limit and not schema.deprecated:
            found.setdefault((schema.domain, schema.name), []).append(schema.since_version)
    return {key: sorted(set(versions)) for key, versions in found.items()}


def versions_of(name: str, domain: str) -> list[int]:
    """Versions of the standard that can be asked; those before 7 are raised by importers."""
    versions = history()[domain, name]
    if domain:
        return versions
    return [v for v in versions if v >= 7] or versions[-1:]


def element_type(type_str: str) -> np.dtype[Any] | None:
    if not type_str.startswith("tensor("):
        return None
    code = onnx.TensorProto.DataType.Value(type_str[7:-1].upper())
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(code))
