"""ddddocr: reads small pictures of letters, with both of its models."""

from __future__ import annotations

from typing import Any

from .client import Client, Run
from .inputs import captcha


def _open(threads: int | None) -> Run:
    import ddddocr

    models = [ddddocr.DdddOcr(show_ad=False, old=old) for old in (False, True)]
    pictures = [captcha(text) for text in ("K7mP", "3x9Q", "Hello"[:4])]

    def run() -> Any:
        return [[model.classification(picture) for picture in pictures] for model in models]

    return run


CLIENT = Client("ddddocr", "three small pictures read by two models", _open, needs=("cv2",))
