"""rapidocr: finds text in an image, turns it and reads it (PP-OCRv6)."""

from __future__ import annotations

from typing import Any

from .client import Client, Run
from .inputs import rendered


def _open(threads: int | None) -> Run:
    from rapidocr import RapidOCR

    number = threads or -1
    ocr = RapidOCR(
        params={
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": number,
        }
    )
    image = rendered()

    def run() -> Any:
        found = ocr(image)
        return {"texts": list(found.txts), "scores": list(found.scores), "boxes": found.boxes}

    return run


CLIENT = Client(
    "rapidocr",
    "three lines of text found and read (PP-OCRv6)",
    _open,
    tolerance=1e-3,
    has_threads=True,
    needs=("cv2", "pyclipper", "shapely", "omegaconf", "colorlog"),
)
