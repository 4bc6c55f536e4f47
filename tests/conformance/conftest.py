"""The conformance suite runs in guard mode."""

from ..guard import guard as guard
