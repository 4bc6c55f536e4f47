"""Classify images with Beam's RunInference: a model handler of a few lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import sardonyx
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference
from sardonyx.tools.demo import DATA


class SardonyxHandler(ModelHandler[np.ndarray, PredictionResult, sardonyx.Session]):
    """A model that each worker opens once, and runs on stacked examples."""

    def load_model(self) -> sardonyx.Session:
        """Open the model."""
        return sardonyx.Session(DATA / "digits.onnx", threads=1)

    def run_inference(
        self, batch: Sequence[np.ndarray], model: sardonyx.Session, inference_args: Any = None
    ) -> Iterable[PredictionResult]:
        """Run a batch; one result for each example."""
        return map(PredictionResult, batch, model(np.stack(batch)))


def main(images: int = 200) -> None:
    """Classify some digits, and print how often each was seen."""
    with np.load(DATA / "digits.npz") as digits:
        pixels = digits["images"][:images].astype(np.float32)
    with beam.Pipeline() as pipeline:
        results = pipeline | beam.Create(list(pixels)) | RunInference(SardonyxHandler())
        seen = results | beam.Map(lambda each: int(np.argmax(each.inference)))
        _ = seen | beam.combiners.Count.PerElement() | beam.Map(print)


if __name__ == "__main__":
    main()
