"""Check of an NVIDIA GPU: results of all kernels and of models, then figures; see ``main``."""
