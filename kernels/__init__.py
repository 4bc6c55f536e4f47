"""Kernels: raw pointers in, raw pointers out; nothing here knows of models."""
