"""rapid_layout: finds titles, paragraphs, figures and tables of a page."""

from __future__ import annotations

from typing import Any

from .client import Client, Run
from .inputs import page


def _open(threads: int | None) -> Run:
    from rapid_layout import RapidLayout

    layout = RapidLayout(engine_cfg={"intra_op_num_threads": threads or -1}, conf_thresh=0.3)
    image = page()

    def run() -> Any:
        found = layout(image)
        return {"names": found.class_names, "scores": found.scores, "boxes": found.boxes}

    return run


CLIENT = Client(
    "rapid-layout",
    "layout of a scanned page (PP-PicoDet)",
    _open,
    has_threads=True,
    needs=("cv2", "omegaconf", "colorlog", "skimage"),
)
