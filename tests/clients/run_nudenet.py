"""nudenet: finds parts of bodies in photographs (YOLOv8n)."""

from __future__ import annotations

from typing import Any

from .client import Client, Run
from .inputs import photograph


def _open(threads: int | None) -> Run:
    from nudenet import NudeDetector

    detector = NudeDetector()
    image = photograph("astronaut")[..., ::-1].copy()

    def run() -> Any:
        return detector.detect(image)

    return run


CLIENT = Client(
    "nudenet", "a portrait (YOLOv8n at 320 x 320)", _open, tolerance=1e-3, needs=("cv2", "skimage")
)
