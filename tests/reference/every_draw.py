"""The table of what is drawn for each operator, with all families entered."""

from __future__ import annotations

from . import (  # noqa: F401  (they fill the table)
    draw_elementwise,
    draw_images,
    draw_layers,
    draw_ml,
    draw_movement,
    draw_newest,
    draw_others,
)
from .drawing import DRAWN as DRAWN
