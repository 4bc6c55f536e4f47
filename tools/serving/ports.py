"""Ports: inputs and outputs of a served model in the protocol's words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...errors import UnsupportedModel
from .element_types import datatype
from .refusals import BAD_REQUEST, Refusal


@dataclass(frozen=True)
class Port:
    """An input or output.

    Attributes
    ----------
    name, datatype : str
        ``datatype`` is the protocol's, such as ``"FP32"``.
    dims : list of int, str or None, optional
        Sizes; those that are open have a name or None. None where not even their number is known.
    """

    name: str
    datatype: str
    dims: list[int | str | None] | None

    @property
    def shape(self) -> list[int]:
        """The sizes, -1 for one that is open."""
        return [size if isinstance(size, int) else -1 for size in self.dims or ()]

    def check(self, shape: tuple[int, ...]) -> None:
        """Compare a shape with what is declared.

        Raises
        ------
        Refusal
            The number of dimensions or a fixed size is another.
        """
        if self.dims is None:
            return
        fits = len(shape) == len(self.dims) and all(
            not isinstance(size, int) or size == given
            for size, given in zip(self.dims, shape, strict=True)
        )
        if not fits:
            expected = [size if size is not None else "?" for size in self.dims]
            raise Refusal(
                BAD_REQUEST, f"input {self.name!r}: expected shape {expected}, got {list(shape)}"
            )


def ports(arguments: Iterable[Any]) -> list[Port]:
    """Return the ports of what a session has as inputs or outputs.

    Raises
    ------
    UnsupportedModel
        One is no tensor, or of a type that the protocol has no name for.
    """
    found = []
    for each in arguments:
        name = datatype(each.type)
        if name is None:
            raise UnsupportedModel(
                f"{each.name!r} is a {each.type}, which the inference protocol cannot carry"
            )
        found.append(Port(each.name, name, each.shape))
    return found
