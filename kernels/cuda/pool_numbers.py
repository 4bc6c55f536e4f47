"""Pooling of element types other than float32, which on a GPU is that of float32."""

from .pool import pool as pool_numbers

__all__ = ["pool_numbers"]
