"""Forms that steps may take where there are several, and which ones they take.

The cost model decides, unless a choice is given: by measurement (``tuning``), or by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..errors import InvalidArgument


class Form(NamedTuple):
    """How a convolution is done, written ``"direct 6x2"`` or ``"winograd 4x4"``.

    Attributes
    ----------
    algorithm
        ``"direct"`` or ``"winograd"``.
    sizes
        Of a direct one rows and vectors of the tile in registers; of Winograd's the rows and
        columns of pixels of a tile.
    """

    algorithm: str
    sizes: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.algorithm} {self.sizes[0]}x{self.sizes[1]}"


class Choices:
    """Choices of one lowering.

    Parameters
    ----------
    given : mapping of str to str
        Forms by the names of nodes; the cost model decides about the others.

    Attributes
    ----------
    offered : dict of str to list of str
        For each node the forms it may take, that of the cost model first.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self.offered: dict[str, list[str]] = {}
        self._given = given
        self._obeyed: set[str] = set()

    def choose(self, name: str, forms: Sequence[Form]) -> Form:
        """Choose a node's form: the one that is given, or the first.

        Where a node becomes several steps, those that cannot take the given form take their first.
        """
        offered = self.offered.setdefault(name, [])
        offered += [text for text in map(str, forms) if text not in offered]
        wanted = self._given.get(name)
        for form in forms:
            if str(form) == wanted:
                self._obeyed.add(name)
                return form
        return forms[0]

    def check(self) -> None:
        """Refuse what could not be obeyed.

        Raises
        ------
        InvalidArgument
            Naming the node, and what it may be.
        """
        for name, form in self._given.items():
            if name not in self.offered:
                raise InvalidArgument(f"choices: no node {name!r} has a choice of forms")
            if name not in self._obeyed:
                raise InvalidArgument(
                    f"choices: node {name!r} cannot be {form!r}, only {self.offered[name]}"
                )
