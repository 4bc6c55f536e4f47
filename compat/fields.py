"""Fields of option objects: typed as onnxruntime's are, with what becomes of each here."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any


def integer(value: Any) -> int:
    """Return a whole number; no float, no text."""
    return operator.index(value)


def text(value: Any) -> str:
    """Return a text, which nothing else is made into."""
    if not isinstance(value, str):
        raise TypeError(f"a str is expected, not {type(value).__name__}")
    return value


def flag(value: Any) -> bool:
    """Return a truth value of a bool, a number or None."""
    if value is not None and not hasattr(value, "__bool__"):
        raise TypeError(f"a bool is expected, not {type(value).__name__}")
    return bool(value)


def member(kind: type) -> Callable[[Any], Any]:
    """Return a converter that takes members of an enumeration alone."""

    def convert(value: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError(f"a member of {kind.__name__} is expected, not {value!r}")
        return value

    return convert


class Field:
    """An attribute of an option object; setting it to a value of another type raises ``TypeError``.

    Parameters
    ----------
    convert : callable
        Returns the value that is kept; raises ``TypeError``.
    default
    ignored : str, optional
        Why the field has no effect here; it has one where this is empty.
    """

    def __init__(self, convert: Callable[[Any], Any], default: Any, ignored: str = "") -> None:
        self._convert, self.default, self.ignored = convert, default, ignored
        self.__doc__ = ignored and f"Without effect: {ignored}."

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, holder: Any, owner: type | None = None) -> Any:
        return self if holder is None else vars(holder).get(self.name, self.default)

    def __set__(self, holder: Any, value: Any) -> None:
        try:
            vars(holder)[self.name] = self._convert(value)
        except TypeError as error:
            raise TypeError(f"{type(holder).__name__}.{self.name}: {error}") from None


class Options:
    """Object with fields; an attribute that is no field is refused, as in onnxruntime."""

    def __setattr__(self, name: str, value: Any) -> None:
        known = isinstance(getattr(type(self), name, None), Field | property)
        if not name.startswith("_") and not known:
            kind = type(self).__name__
            raise AttributeError(f"{kind!r} object has no attribute {name!r}")
        super().__setattr__(name, value)

    @classmethod
    def fields(cls) -> dict[str, Field]:
        """Return the fields by name."""
        return {
            name: field
            for kind in reversed(cls.__mro__)
            for name, field in vars(kind).items()
            if isinstance(field, Field)
        }

    def set_fields(self) -> dict[str, Any]:
        """Return the values of fields that were set, by name."""
        own = vars(self)
        return {name: own[name] for name in self.fields() if name in own}


def without_effect(*kinds: type[Options]) -> dict[str, str]:
    """Return why fields and methods have no effect, by their names."""
    reasons = {}
    for kind in kinds:
        for name, field in kind.fields().items():
            if field.ignored:
                reasons[f"{kind.__name__}.{name}"] = field.ignored
        for name, method in vars(kind).items():
            if why := getattr(method, "ignored", ""):
                reasons[f"{kind.__name__}.{name}"] = why
    return reasons


def ignored(why: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a method that is accepted and has no effect."""

    def mark(method: Callable[..., Any]) -> Callable[..., Any]:
        method.ignored = why  # type: ignore[attr-defined]
        return method

    return mark
