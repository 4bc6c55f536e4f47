"""Forms that steps may take where there are several, and which ones they take.

The cost model decides, unless a choice is given: by measurement (``tuning``), or by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..errors import InvalidArgument
from ..kernels.folders import warn_once


class Suggestions(dict[str, str]):
    """Choices of a session on another processor, perhaps, which may have forms that this lacks."""


class Form(NamedTuple):
    """Form of a convolution, written ``"direct 6x2"``, ``"winograd 4x4"`` or ``"terms 2x3"``.

    Attributes
    ----------
    algorithm
        ``"direct"``, ``"winograd"``, or ``"terms"``: float32 as sums of bfloat16.
    sizes
        Of a direct one rows and vectors of the tile in registers; of Winograd's the rows and
        columns of pixels of a tile; of terms their number, and that of their products.
    """

    algorithm: str
    sizes: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.algorithm} {self.sizes[0]}x{self.sizes[1]}"


class Choices:
    """Choices of one lowering.

    Parameters
    ----------
    requests : mapping of str to str
        Forms by the names of nodes; the cost model decides about the others.
    are_binding : bool
        Whether those that this processor lacks are refused; else the cost model decides, too.

    Attributes
    ----------
    offered : dict of str to list of str
        For each node the forms it may take, that of the cost model first.
    """

    def __init__(self, requests: Mapping[str, str], are_binding: bool = True) -> None:
        self.offered: dict[str, list[str]] = {}
        self._requests = requests
        self._are_binding = are_binding
        self._fulfilled: set[str] = set()

    def choose(self, name: str, forms: Sequence[Form]) -> Form:
        """Choose a node's form: the one that is requested, or the first.

        Where a node becomes several steps, those without the requested form take their first.
        """
        offered = self.offered.setdefault(name, [])
        offered += [text for text in map(str, forms) if text not in offered]
        request = self._requests.get(name)
        for form in forms:
            if str(form) == request:
                self._fulfilled.add(name)
                return form
        return forms[0]

    def is_open(self, name: str) -> bool:
        """Tell whether the cost model decides about a node."""
        return name not in self._requests

    def is_asked(self, name: str, algorithm: str) -> bool:
        """Tell whether a form of an algorithm is requested for a node."""
        return self._requests.get(name, "").partition(" ")[0] == algorithm

    def check(self) -> None:
        """Refuse requests that no node could fulfil, or say so of suggestions.

        Raises
        ------
        InvalidArgument
            Naming the node, and the forms it has.
        """
        if not self._are_binding:
            lacking = [name for name in self._requests if name not in self._fulfilled]
            if lacking:
                warn_once(
                    f"choices: {len(lacking)} of {len(self._requests)} forms are of another "
                    f"processor, and the cost model decides here; the first is of {lacking[0]!r}"
                )
            return
        for name, form in self._requests.items():
            if name not in self.offered:
                raise InvalidArgument(f"choices: no node {name!r} has a choice of forms")
            if name not in self._fulfilled:
                raise InvalidArgument(
                    f"choices: node {name!r} has no form {form!r}, only {self.offered[name]}"
                )
