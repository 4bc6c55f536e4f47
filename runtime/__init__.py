"""The runtime: lowers a model to a program and runs it."""
