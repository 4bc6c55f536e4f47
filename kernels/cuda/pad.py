"""Padding with a constant, by reflection, by the edge or around."""

from __future__ import annotations

from ..fields import Pointer
from ..padding import NOWHERE, source_position
from .elements import accesses
from .functions import device_function
from .kernel import Body, cuda_factory
from .launches import elements_of
from .threads import cuda

_source = device_function("int64")(source_position)


@cuda_factory
def pad(itemsize: int) -> Body | None:
    """Write y, of which position i on an axis is position i - pad of x, a thread for each element.

    ``n*`` are the sizes of x, ``m*`` those of y, ``p*`` the pads before, ``x*`` and ``y*`` strides.
    """
    if itemsize not in accesses:
        return None
    load, store = accesses[itemsize]

    def body(
        x: Pointer, y: Pointer, value: Pointer, mode: int,
        n0: int, n1: int, n2: int, n3: int, n4: int, n5: int, n6: int, n7: int,
        m0: int, m1: int, m2: int, m3: int, m4: int, m5: int, m6: int, m7: int,
        p0: int, p1: int, p2: int, p3: int, p4: int, p5: int, p6: int, p7: int,
        x0: int, x1: int, x2: int, x3: int, x4: int, x5: int, x6: int, x7: int,
        y0: int, y1: int, y2: int, y3: int, y4: int, y5: int, y6: int, y7: int, status: Pointer,
    ) -> None:  # fmt: skip
        old, new = (n7, n6, n5, n4, n3, n2, n1, n0), (m7, m6, m5, m4, m3, m2, m1, m0)
        before = (p7, p6, p5, p4, p3, p2, p1, p0)
        come, to = (x7, x6, x5, x4, x3, x2, x1, x0), (y7, y6, y5, y4, y3, y2, y1, y0)
        total = m0 * m1 * m2 * m3 * m4 * m5 * m6 * m7
        for i in range(cuda.grid(1), total, cuda.gridsize(1)):
            rest, source, target, is_inside = i, 0, 0, True
            for axis in range(8):
                place = rest % new[axis]
                rest = rest // new[axis]
                at = _source(place - before[axis], old[axis], mode)
                is_inside = is_inside and at != NOWHERE
                source += at * come[axis]
                target += place * to[axis]
            store(y, target, load(x, source) if is_inside else load(value, 0))

    return Body(body, elements_of("m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7"))
