"""Expressions of the pointwise language as statements of a kernel for a GPU.

Each call becomes a statement of its own, whose operands are names: so a branch mentions its
operands twice without computing them twice. The kind of every name is known (``f32``, ``f64``,
``bool`` or an integer), so that no literal widens a number: float64 takes a GPU up to 64 times as
long.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..narrow_tables import INTEGERS
from .memory import ROUND
from .numbers import CALLS, FUNCTIONS, WIDTHS

_FLOATS = ("f32", "f64")
_OPERATORS = {
    "add": "+", "sub": "-", "mul": "*", "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^",
}  # fmt: skip
_COMPARISONS = {
    "equal": "==", "less": "<", "less_or_equal": "<=", "greater": ">", "greater_or_equal": ">=",
    "not_equal": "!=",
}  # fmt: skip
_LOGIC = {"logical_and": "&", "logical_or": "|", "logical_xor": "!="}
_INFINITE = "({0} == math_inf and {2} != 0) or ({0} == -math_inf and {1} != 0)"


class NoForm(Exception):
    """An expression has something that no kernel of a GPU computes."""


@dataclass(frozen=True)
class _Value:
    """A name or a literal, and its kind; that of a literal is empty."""

    text: str
    kind: str


@dataclass
class Statements:
    """An expression as statements; the last one assigns the name ``result``."""

    names: dict[str, _Value]
    lines: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, expression: str, kinds: Sequence[str]) -> Statements:
        """Write an expression whose operands ``x0, x1, ...`` are of some kinds.

        Raises
        ------
        NoForm
        """
        own = cls({f"x{i}": _Value(f"x{i}", kind) for i, kind in enumerate(kinds)})
        for statement in ast.parse(expression).body:
            value = own._written(statement.value)  # type: ignore[attr-defined]
            if isinstance(statement, ast.Assign):
                own.names[ast.unparse(statement.targets[0])] = value
        own.lines.append(f"result = {own._literal(value, 'f32')}")
        return own

    def _written(self, node: ast.AST) -> _Value:
        if isinstance(node, ast.Name):
            return self.names[node.id]
        if not isinstance(node, ast.Call):
            return _Value(ast.unparse(node), "")
        arguments = [self._written(argument) for argument in node.args]
        text, kind = self._call(node.func.id, arguments)  # type: ignore[attr-defined]
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        return _Value(name, kind)

    def _literal(self, value: _Value, kind: str) -> str:
        """Text of a value, of a literal as a number of a kind."""
        if value.kind or not kind or kind == "bool":
            return value.text
        return f"cast_{kind}({value.text})"

    def _alike(self, values: Sequence[_Value]) -> tuple[list[str], str]:
        """Return texts of operands that meet, and what kind they give."""
        kinds = [value.kind for value in values if value.kind]
        if not kinds:
            kind = "f32" if any("." in v.text or "e" in v.text for v in values) else "i64"
        elif "f64" in kinds or ("f32" in kinds and any(k in ("i64", "u64") for k in kinds)):
            kind = "f64"
        elif "f32" in kinds:
            kind = "f32"
        else:
            kind = kinds[0] if len(set(kinds)) == 1 else "i64"
        return [self._literal(value, kind) for value in values], kind

    def _call(self, name: str, values: list[_Value]) -> tuple[str, str]:
        """Return the text of a call, and the kind of its result."""
        if name.startswith("to_") or name.startswith("float_to_"):
            return self._cast(name, values[0])
        if name == "odd_f32":
            return f"odd_f32(cast_f64({values[0].text}))", "f32"
        if name in ("where", "if_less", "if_greater"):
            return self._choice(name, values)
        texts, kind = self._alike(values)
        first = texts[0]
        if name in FUNCTIONS and kind in _FLOATS:
            return f"cast_{kind}(math_{name}({first}))", kind
        if name in _OPERATORS:
            return f"{texts[0]} {_OPERATORS[name]} {texts[1]}", kind
        if name in _COMPARISONS:
            return f"{texts[0]} {_COMPARISONS[name]} {texts[1]}", "bool"
        if name in _LOGIC:
            return f"({texts[0]} != 0) {_LOGIC[name]} ({texts[1]} != 0)", "bool"
        if name in CALLS and kind in WIDTHS:
            return f"call_{name}({texts[0]}, {texts[1]})", kind
        if name == "divisor":
            self.lines.append(f"note_zero(status, {first})")
            return first, kind
        return self._other(name, texts, kind), "bool" if name in _TESTS else kind

    def _other(self, name: str, texts: list[str], kind: str) -> str:
        form = _FORMS.get(name)
        if form is None or (name in _OF_FLOATS and kind not in _FLOATS):
            raise NoForm(name)
        zero, one = (f"cast_{kind}({n})" if kind != "bool" else str(n) for n in (0, 1))
        return form.format(*texts, zero=zero, one=one, kind=kind)

    def _choice(self, name: str, values: list[_Value]) -> tuple[str, str]:
        (yes, no), kind = self._alike(values[-2:])
        if name == "where":
            return f"{yes} if {values[0].text} else {no}", kind
        (left, right), _ = self._alike(values[:2])
        return f"{yes} if {left} {'<' if name == 'if_less' else '>'} {right} else {no}", kind

    def _cast(self, name: str, value: _Value) -> tuple[str, str]:
        text, kind = self._literal(value, "f32"), name.rpartition("_")[2]
        if name.removeprefix("to_") in ROUND:
            return f"rounded_{name.removeprefix('to_')}(cast_f32({text}))", "f32"
        if kind in INTEGERS:
            whole = f"saturated({text})" if name.startswith("float_") else text
            return f"low_{kind}({whole})", f"{kind[0]}8"
        if kind in ("bool", "u8") and name.startswith("to_bool"):
            return f"{text} != 0", "bool"
        if kind not in (*_FLOATS, *WIDTHS):
            raise NoForm(name)
        if name == "float_to_u64":
            return f"float_to_u64({text})", kind
        if name.startswith("float_to_"):
            return f"cast_{kind}(saturated({text}))", kind
        return f"cast_{kind}({text})", kind


_FORMS = {
    "div": "{0} / {1}", "fma": "{0} * {1} + {2}", "neg": "-{0}", "abs": "abs({0})",
    "max": "{0} if {0} >= {1} or {0} != {0} else {1}",
    "min": "{0} if {0} <= {1} or {0} != {0} else {1}",
    "clip": "({2} if {0} > {2} else {0}) if not {0} < {1} else ({2} if {1} > {2} else {1})",
    "relu": "{0} if not {0} < {zero} else {zero}", "bitwise_not": "~{0}",
    "sigmoid": "{one} / ({one} + math_exp(-{0}))", "pow": "{0} ** {1}",
    "fmod": "math_fmod({0}, {1})",
    "floor": "math_floor_{kind}({0})", "ceil": "math_ceil_{kind}({0})",
    "round": "math_rint_{kind}({0})",
    "sign": "{one} if {0} > {zero} else (-{one} if {0} < {zero} else {0})",
    "is_nan": "{0} != {0}", "is_inf": _INFINITE, "logical_not": "{0} == 0",
    "saturate": "({2} if {0} > {2} else ({1} if {0} < {1} else {0})) if {0} == {0} else {zero}",
}  # fmt: skip
_TESTS = ("is_nan", "is_inf", "logical_not")
_OF_FLOATS = ("div", "sigmoid", "pow", "floor", "ceil", "round", "is_inf", "fmod", "saturate")
