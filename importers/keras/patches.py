"""Patches of Keras and JAX while a model of Keras is traced."""

from __future__ import annotations

from ...patches import Patch
from .images import resize_to_any_size
from .jax import convolution_as_operator, resize_as_operator
from .recurrent import loop_as_operators
from .time_distributed import steps_at_once

ALL_BACKENDS = (
    Patch(
        "keras",
        "keras.layers.TimeDistributed.call",
        steps_at_once,
        "it writes its layer out for every step, and takes an open number of steps for the batch",
        tested="3.15",
    ),
    Patch(
        "keras",
        "keras.src.ops.image.resize",
        resize_to_any_size,
        "it asks whether open sizes are positive, which TensorFlow cannot tell while it traces",
        tested="3.15",
    ),
)

RECURRENT = tuple(
    Patch(
        "keras",
        f"keras.layers.{layer}.inner_loop",
        loop_as_operators,
        "it writes its cell out for every step, or as a loop",
        tested="3.15",
    )
    for layer in ("RNN", "LSTM", "GRU")
)
"""On PyTorch and JAX, whose exporters take operators of ONNX as they are."""

TORCH = (
    Patch(
        "keras",
        "keras.src.backend.torch.core.Variable._direct_assign",
        lambda original: lambda variable, value: None,
        "PyTorch's exporters take a state that is written for a constant, with the value after",
        tested="3.15",
    ),
)

JAX = (
    Patch(
        "jax",
        "jax.lax.conv_general_dilated",
        convolution_as_operator,
        "jax2onnx knows neither volumes with channels last nor padding of open sizes",
        tested="0.10",
    ),
    Patch(
        "jax",
        "jax.image.resize",
        resize_as_operator,
        "jax2onnx does not export it for a batch of any size",
        tested="0.10",
    ),
)
