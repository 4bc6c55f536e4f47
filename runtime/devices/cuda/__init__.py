"""NVIDIA's GPUs: lowering for them, their memory, and runs."""
