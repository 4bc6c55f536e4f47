"""LSTMs with projections (``proj_size``), which neither ONNX nor PyTorch's exporter knows."""

from __future__ import annotations

from typing import Any


def without_projections(program: Any) -> Any:
    """Compute each step of an LSTM with projections by simpler operators.

    Parameters
    ----------
    program : torch.export.ExportedProgram

    Returns
    -------
    torch.export.ExportedProgram
        The program itself where it has no such LSTM.
    """
    import torch

    lstm = torch.ops.aten.lstm.input
    if not any(_projects(node) for node in program.graph.nodes if node.target is lstm):
        return program
    return program.run_decompositions({lstm: torch._decomp.decomposition_table[lstm]})


def _projects(node: Any) -> bool:
    """Whether an LSTM has weights of projections: one more in each layer and direction."""
    _, _, weights, biases, layers, _, _, bidirectional, *_ = node.args
    return bool(len(weights) > layers * (1 + bidirectional) * (2 + 2 * biases))
