"""Fusions, one family of patterns a file."""
