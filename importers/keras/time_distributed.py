"""Layers inside TimeDistributed do all steps of a sequence at once, as a larger batch.

Keras writes the layer out for every step, and where their number is open makes as many steps as
there are sequences in the batch (Keras 3.15). No step depends on another: neither is needed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .frameworks import replaced


@contextlib.contextmanager
def steps_at_once(keras: Any) -> Iterator[None]:
    """Have TimeDistributed merge steps into the batch while models are traced."""
    kind, ops = keras.layers.TimeDistributed, keras.ops
    original = kind.call

    def flat(x: Any) -> Any:
        return ops.reshape(x, (-1, *ops.shape(x)[2:]))

    def call(self: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        layer = self.layer
        if getattr(layer, "stateful", False):  # its states are as many as the sequences
            return original(self, inputs, training=training, mask=mask)
        given: dict[str, Any] = {}
        if layer._call_has_training_arg:
            given["training"] = training
        if layer._call_has_mask_arg and mask is not None:
            given["mask"] = flat(mask)
        result = layer.call(flat(inputs), **given)
        batch, steps, *_ = ops.shape(inputs)
        sizes = (steps, *ops.shape(result)[1:])
        known = all(isinstance(size, int) for size in sizes)
        return ops.reshape(result, (-1 if known else batch, *sizes))

    with replaced(kind, "call", call):
        yield
