"""Operators that follow the standard where onnx's reference implementation does not."""

from onnx.reference.op_run import OpRun

from .loop import Loop
from .maps import CastMap, CategoryMapper, DictVectorizer, ZipMap
from .max_pool import MaxPool
from .recurrent import GRU, LSTM, RNN

OPERATORS: list[type[OpRun]] = [
    *(GRU, LSTM, RNN, Loop, MaxPool),
    *(CastMap, CategoryMapper, DictVectorizer, ZipMap),
]
"""For ``new_ops`` of a ReferenceEvaluator."""
