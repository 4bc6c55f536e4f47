"""Converters that skl2onnx lacks or has wrong."""

from __future__ import annotations

import copy
import sys
from typing import Any


def register() -> None:
    """Tell skl2onnx of converters: for LightGBM and XGBoost as far as these are imported."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes as classifier_shapes,
    )
    from skl2onnx.common.shape_calculator import (
        calculate_linear_regressor_output_shapes as regressor_shapes,
    )
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    labelled = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    found: list[tuple[Any, Any, Any, dict[str, Any]]] = [
        (
            LinearDiscriminantAnalysis, classifier_shapes, _linear_discriminant,
            {**labelled, "output_class_labels": [False, True], "raw_scores": [True, False]},
        ),
    ]  # fmt: skip
    if "lightgbm" in sys.modules:
        from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor
        from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

        found.append((LGBMClassifier, classifier_shapes, convert_lightgbm, labelled))
        found += [
            (each, regressor_shapes, convert_lightgbm, {"split": None})
            for each in (LGBMRegressor, LGBMRanker)
        ]
    if "xgboost" in sys.modules:
        from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
        from xgboost import (
            XGBClassifier,
            XGBRanker,
            XGBRegressor,
            XGBRFClassifier,
            XGBRFRegressor,
        )

        found += [
            (each, classifier_shapes, convert_xgboost, labelled)
            for each in (XGBClassifier, XGBRFClassifier)
        ]
        found += [
            (each, regressor_shapes, convert_xgboost, {})
            for each in (XGBRegressor, XGBRanker, XGBRFRegressor)
        ]
    for estimator, shapes, converter, options in found:
        alias = f"Sardonyx{estimator.__name__}"
        update_registered_converter(estimator, alias, shapes, converter, options=options)


def _linear_discriminant(scope: Any, operator: Any, container: Any) -> None:
    """Convert as a linear classifier.

    Of two classes skl2onnx takes the softmax of both scores d and -d, which is the logistic
    function of 2 d.
    """
    from skl2onnx.operator_converters.linear_classifier import convert_sklearn_linear_classifier

    estimator = operator.raw_operator
    options = container.get_options(estimator, dict(raw_scores=False), fail=False)
    if len(estimator.classes_) == 2 and not options["raw_scores"]:
        operator.raw_operator = copy.copy(estimator)
        operator.raw_operator.coef_ = estimator.coef_ / 2
        operator.raw_operator.intercept_ = estimator.intercept_ / 2
    try:
        convert_sklearn_linear_classifier(scope, operator, container)
    finally:
        operator.raw_operator = estimator
