"""Classify images with Spark: ``predict_batch_udf`` opens the model once in each Python worker."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import sardonyx
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import SparkSession
from pyspark.sql.types import ArrayType, FloatType
from sardonyx.tools.demo import DATA


def make_predict() -> Callable[[np.ndarray], np.ndarray]:
    """Open the model in a worker; returns the function of a batch."""
    session = sardonyx.Session(DATA / "digits.onnx", threads=1)
    return lambda pixels: session(pixels.reshape(-1, 1, 8, 8))


def main(images: int = 200) -> float:
    """Classify some digits; returns the share that is right."""
    spark = SparkSession.builder.master("local[2]").getOrCreate()
    with np.load(DATA / "digits.npz") as digits:
        pixels, labels = digits["images"].astype(np.float32), digits["labels"]
    rows = [(pixels[i].ravel().tolist(), int(labels[i])) for i in range(images)]
    table = spark.createDataFrame(rows, "pixels array<float>, label int")
    udf = predict_batch_udf(
        make_predict, return_type=ArrayType(FloatType()), batch_size=64, input_tensor_shapes=[[64]]
    )
    found = table.withColumn("scores", udf("pixels")).collect()
    right = float(np.mean([np.argmax(row.scores) == row.label for row in found]))
    print(f"{len(found)} images, {100 * right:.1f} % right")
    spark.stop()
    return right


if __name__ == "__main__":
    main()
