"""TimeDistributed layers, which do all steps of a sequence at once, as a larger batch.

Keras writes the layer out for every step, and where their number is open makes as many steps as
there are sequences in the batch (Keras 3.15). No step depends on another: neither is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def steps_at_once(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``TimeDistributed.call`` that merges steps into the batch."""
    import keras

    ops = keras.ops

    def flat(x: Any) -> Any:
        return ops.reshape(x, (-1, *ops.shape(x)[2:]))

    def call(self: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        layer = self.layer
        if getattr(layer, "stateful", False):  # its states are as many as the sequences
            return original(self, inputs, training=training, mask=mask)
        arguments: dict[str, Any] = {}
        if layer._call_has_training_arg:
            arguments["training"] = training
        if layer._call_has_mask_arg and mask is not None:
            arguments["mask"] = flat(mask)
        result = layer.call(flat(inputs), **arguments)
        batch, steps, *_ = ops.shape(inputs)
        sizes = (steps, *ops.shape(result)[1:])
        known = all(isinstance(size, int) for size in sizes)
        return ops.reshape(result, (-1 if known else batch, *sizes))

    return call
