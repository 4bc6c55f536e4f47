"""rapidocr_onnxruntime: the package before rapidocr, which many projects still have (PP-OCRv4)."""

from __future__ import annotations

from typing import Any

from .client import Client, Run
from .inputs import page


def _open(threads: int | None) -> Run:
    from rapidocr_onnxruntime import RapidOCR

    ocr = RapidOCR(intra_op_num_threads=threads or -1)
    image = page()

    def run() -> Any:
        found, _ = ocr(image)
        return [{"box": box, "text": text, "score": score} for box, text, score in found]

    return run


CLIENT = Client(
    "rapidocr-onnxruntime",
    "a scanned page read (PP-OCRv4)",
    _open,
    tolerance=1e-3,
    has_threads=True,
    needs=("cv2", "pyclipper", "shapely", "skimage"),
)
