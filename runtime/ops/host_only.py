"""Operators that have no kernel, and whose attributes are checked all the same."""

from __future__ import annotations

from . import checks
from .registry import Operator, register

_reduction = checks.one_of("reduction", "none", "mean", "sum")

register("NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss", Operator(rules=(_reduction,)))
