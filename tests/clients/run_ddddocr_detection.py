"""ddddocr: finds letters and things to click on in a picture."""

from __future__ import annotations

from typing import Any

from .client import Client, Run
from .inputs import captcha


def _open(threads: int | None) -> Run:
    import ddddocr

    detector = ddddocr.DdddOcr(det=True, ocr=False, show_ad=False)
    picture = captcha("K7mP")

    def run() -> Any:
        return detector.detection(picture)

    return run


CLIENT = Client("ddddocr", "letters of a picture found (YOLOX)", _open, needs=("cv2",))
