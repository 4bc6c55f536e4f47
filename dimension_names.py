"""Names of dimensions: which labels of a dimension name a size, and which say that it is open."""

from __future__ import annotations

_NO_NAMES = frozenset(
    ["", "1", "any", "dyn", "dynamic", "nan", "none", "null", "undefined", "unk", "unknown"]
)


def dimension_name(label: str | None) -> str | None:
    """Return the name of a dimension, None where the label is none.

    Dimensions of one name have one size. Exporters call all open ones ``dynamic``, ``None``, ``?``
    or the like, which says nothing of two of them.
    """
    bare = (label or "").strip("?*<>()'\"-_. ").lower()
    return None if bare in _NO_NAMES else label
