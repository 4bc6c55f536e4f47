"""Opset at which imported models are."""

CANONICAL_OPSET = 24
"""The newest opset of which onnxruntime 1.32 runs everything it runs of older ones.

(From 25 on it lacks Swish.) It has LayerNormalization, Gelu, RMSNormalization, RotaryEmbedding,
Attention and Swish as standard operators.
"""

OPSET_NOTE = "sardonyx.opset"
"""Key of `metadata_props` under which a model says why it is not at the canonical opset."""
