"""Clip of the bytes that a convolution or product gives: limits of what its tile rounds to.

Where zero is not the least of a result's bytes, as of tensors that are concatenated with others, a
Relu behind it is a Clip of bytes.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..graph import Node
from ..groups import Group

_LIMITS = (1, 2)


@dataclasses.dataclass(frozen=True)
class Limited:
    """What a head's tile writes.

    Attributes
    ----------
    node : Node
        Whose result: the head, or the Clip behind it.
    limits : (int, int), optional
        Of the bytes; None for those of their type.
    rest : Group
        What is left of the group, behind ``node``, which leads it.
    """

    node: Node
    limits: tuple[int, int] | None
    rest: Group

    @classmethod
    def of(cls, group: Group) -> Limited:
        """Return the most that a tile may do of a group with a head."""
        head, body = group.head, group.body
        assert head is not None
        plain = cls(head, None, group)
        if not body or body[0].key != ("", "Clip") or body[0].values[0] is not head.outputs[0]:
            return plain
        clip, value = body[0], head.outputs[0]
        if len(value.uses()) != 1 or value.is_graph_output():
            return plain
        ends = [clip.input(index) for index in _LIMITS]
        if not all(end is None or (end.is_constant and end.array().size == 1) for end in ends):
            return plain
        bounds = np.iinfo(head.infos[0].dtype)
        low, high = (
            default if end is None else int(end.array().reshape(()))
            for end, default in zip(ends, (bounds.min, bounds.max), strict=True)
        )
        # Of limits in the wrong order the standard has the upper one.
        return cls(clip, (min(low, high), high), Group([clip, *body[1:]], clip))
