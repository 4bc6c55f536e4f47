"""Classify images with Ray Data: as many actors as wanted, on one machine or on a cluster.

With a cluster: ``RAY_ADDRESS=... python examples/ray_batches.py``.
"""

from __future__ import annotations

import numpy as np
import ray
from sardonyx.ray import Predictor
from sardonyx.tools.demo import DATA


def main(actors: int = 2, copies: int = 4) -> float:
    """Classify the digits several times over; returns the share that is right."""
    with np.load(DATA / "digits.npz") as digits:
        images, labels = digits["images"].astype(np.float32), digits["labels"]
    pairs = zip(images, labels, strict=True)
    rows = [{"pixels": image, "label": int(label)} for image, label in pairs] * copies
    classified = ray.data.from_items(rows).map_batches(
        Predictor,
        fn_constructor_args=[str(DATA / "digits.onnx")],
        fn_constructor_kwargs={"columns": {"pixels": "pixels"}, "keep": ["label"]},
        compute=ray.data.ActorPoolStrategy(size=actors),
        batch_size=64,
        num_cpus=1,
    )
    found = classified.take_all()
    right = [np.argmax(row["probabilities"]) == row["label"] for row in found]
    print(f"{len(found)} images, {100 * np.mean(right):.1f} % right")
    return float(np.mean(right))


if __name__ == "__main__":
    main()
