"""Importer of estimators: scikit-learn, LightGBM and XGBoost, through skl2onnx and onnxmltools."""

from __future__ import annotations

from ..importer import Importer, Reader


def _reader() -> Reader:
    from .convert import from_estimator

    return from_estimator


SKLEARN = Importer(
    "scikit-learn",
    _reader,
    modules=("sklearn", "lightgbm", "xgboost"),
    packages=("sklearn", "skl2onnx", "onnxmltools"),
    extra="sklearn",
)
