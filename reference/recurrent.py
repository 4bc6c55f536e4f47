"""RNN, GRU and LSTM with activations, clipping, lengths and coupled gates: onnx's own lack them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.reference.op_run import OpRun

from .operator import Operator

F32 = np.float32

Function = Callable[[np.ndarray], np.ndarray]
Step = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

# Function of (x, alpha, beta), and the defaults of alpha and beta; None: it takes no such number.
_FUNCTIONS: dict[str, tuple[Callable[[Any, Any, Any], Any], float | None, float | None]] = {
    "affine": (lambda x, a, b: a * x + b, 1.0, 0.0),
    "elu": (lambda x, a, _: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x), 1.0, None),
    "hardsigmoid": (lambda x, a, b: np.clip(a * x + b, 0, 1), 0.2, 0.5),
    "leakyrelu": (lambda x, a, _: np.where(x < 0, a * x, x), 0.01, None),
    "relu": (lambda x, *_: np.maximum(x, 0), None, None),
    "scaledtanh": (lambda x, a, b: a * np.tanh(b * x), 1.0, 1.0),
    "sigmoid": (lambda x, *_: 0.5 * np.tanh(0.5 * x) + 0.5, None, None),
    "softplus": (lambda x, *_: np.logaddexp(x, 0), None, None),
    "softsign": (lambda x, *_: x / (1 + np.abs(x)), None, None),
    "tanh": (lambda x, *_: np.tanh(x), None, None),
    "thresholdedrelu": (lambda x, a, _: np.where(x > a, x, 0), 1.0, None),
}


def _activations(
    names: Sequence[str], alphas: Sequence[float] | None, betas: Sequence[float] | None
) -> list[Function]:
    """Functions by name; those that have numbers take them in order, as far as there are any."""
    left, right = iter(alphas or ()), iter(betas or ())
    bound = []
    for name in names:
        function, alpha, beta = _FUNCTIONS[name.lower()]
        a = None if alpha is None else next(left, alpha)
        b = None if beta is None else next(right, beta)
        bound.append(_with(function, a, b))
    return bound


def _with(function: Callable[[Any, Any, Any], Any], alpha: Any, beta: Any) -> Function:
    return lambda x: function(x, alpha, beta)


def _clipped(function: Function, clip: float | None) -> Function:
    return function if clip is None else lambda x: function(np.clip(x, -clip, clip))


def _walk(
    x: np.ndarray, h: np.ndarray, c: np.ndarray, lengths: np.ndarray, backwards: bool, step: Step
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take the steps of one direction; nothing changes behind the end of a sequence."""
    order = np.arange(len(x))[:, None] + np.zeros_like(lengths)
    if backwards:
        order = np.where(order < lengths, lengths - 1 - order, order)
    batch = np.arange(x.shape[1])
    y = np.zeros((*x.shape[:2], h.shape[-1]), h.dtype)
    for t in range(len(x)):
        going = (t < lengths)[:, None]
        next_h, next_c = step(x[order[t], batch], h, c)
        h, c = np.where(going, next_h, h), np.where(going, next_c, c)
        y[order[t], batch] = np.where(going, next_h, 0)
    return y, h, c


class _Recurrent(Operator):
    """Directions, layouts, lengths and initial states, which all three share."""

    names: tuple[str, ...]

    def step(
        self, f: list[Function], w: np.ndarray, r: np.ndarray, b: np.ndarray, p: np.ndarray
    ) -> Step:
        """Make the function of one step from the parameters of one direction."""
        raise NotImplementedError

    def _run(
        self, x: np.ndarray, w: np.ndarray, r: np.ndarray, b: Any = None, lengths: Any = None,
        initial_h: Any = None, initial_c: Any = None, peepholes: Any = None, *,
        activation_alpha: Any = None, activation_beta: Any = None, activations: Any = None,
        clip: Any = None, direction: Any = None, hidden_size: Any = None, layout: Any = None,
        **others: Any,
    ) -> tuple[np.ndarray, ...]:  # fmt: skip
        self.others = others
        kind, batch_first = x.dtype, bool(layout)
        x = np.moveaxis(x, 0, 1) if batch_first else x
        count, size = w.shape[0], r.shape[-1]
        shape = (count, x.shape[1], size)

        def state(initial: Any) -> np.ndarray:
            if initial is None:
                return np.zeros(shape, kind)
            return np.moveaxis(initial, 0, 1) if batch_first else initial

        h, c = state(initial_h), state(initial_c)
        b = np.zeros((count, 2 * w.shape[1]), kind) if b is None else b
        p = np.zeros((count, 3 * size), kind) if peepholes is None else peepholes
        ends = np.full(x.shape[1], len(x)) if lengths is None else lengths
        names = activations or self.names * count
        functions = _activations(names, activation_alpha, activation_beta)
        results = []
        for d in range(count):
            own = functions[d * len(self.names) : (d + 1) * len(self.names)]
            # As onnxruntime does it: the gates are clipped, not the cell before its output.
            own[:2] = [_clipped(function, clip) for function in own[:2]]
            parts = [array[d].astype(kind) for array in (w, r, b, p)]
            backwards = direction == "reverse" or d == 1
            step = self.step(own, *parts)
            results.append(_walk(x.astype(kind), h[d], c[d], ends, backwards, step))
        y, h, c = (np.stack(part).astype(kind) for part in zip(*results, strict=True))
        y = np.moveaxis(y, 0, 1)  # steps, directions, batch, size
        if batch_first:
            y, h, c = y.transpose(2, 0, 1, 3), np.moveaxis(h, 0, 1), np.moveaxis(c, 0, 1)
        return (y, h, c)[: len(self.onnx_node.output)]


class RNN(_Recurrent):
    """RNN of the standard."""

    names = ("Tanh",)

    def step(
        self, f: list[Function], w: np.ndarray, r: np.ndarray, b: np.ndarray, p: np.ndarray
    ) -> Step:
        """H = f(X W + H R + b)."""
        bias = b.reshape(2, -1).sum(0)

        def step(x: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return f[0](x @ w.T + h @ r.T + bias), c

        return step


class GRU(_Recurrent):
    """GRU of the standard; gates in the order z, r, h."""

    names = ("Sigmoid", "Tanh")

    def step(
        self, f: list[Function], w: np.ndarray, r: np.ndarray, b: np.ndarray, p: np.ndarray
    ) -> Step:
        """H = (1 - z) g(...) + z H."""
        size = r.shape[-1]
        (w_z, w_r, w_h), (r_z, r_r, r_h) = w.reshape(3, size, -1), r.reshape(3, size, size)
        b_z, b_r, b_h, s_z, s_r, s_h = b.reshape(6, size)
        linear = bool(self.others.get("linear_before_reset"))

        def step(x: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            update = f[0](x @ w_z.T + h @ r_z.T + b_z + s_z)
            reset = f[0](x @ w_r.T + h @ r_r.T + b_r + s_r)
            recurrent = reset * (h @ r_h.T + s_h) if linear else (reset * h) @ r_h.T + s_h
            return (1 - update) * f[1](x @ w_h.T + recurrent + b_h) + update * h, c

        return step


class LSTM(_Recurrent):
    """LSTM of the standard; gates in the order i, o, f, c, peepholes i, o, f."""

    names = ("Sigmoid", "Tanh", "Tanh")

    def step(
        self, f: list[Function], w: np.ndarray, r: np.ndarray, b: np.ndarray, p: np.ndarray
    ) -> Step:
        """C = f C + i g(...), H = o h(C)."""
        bias = b.reshape(2, -1).sum(0)
        p_i, p_o, p_f = p.reshape(3, -1)
        coupled = bool(self.others.get("input_forget"))

        def step(x: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            i, o, forget, new = np.split(x @ w.T + h @ r.T + bias, 4, axis=-1)
            i = f[0](i + p_i * c)
            forget = 1 - i if coupled else f[0](forget + p_f * c)
            c = forget * c + i * f[1](new)
            return f[0](o + p_o * c) * f[2](c), c

        return step


def _in_bytes(x: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Round numbers to those that DynamicQuantizeLinear leaves, of all or of each row."""
    low, high = (each(x, axis, keepdims=True, initial=0) for each in (np.min, np.max))
    scale = np.where(high == low, 1, (high - low) / F32(255)).astype(F32)
    zero = np.clip(np.rint(-low / scale), 0, 255)
    return (np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale


class DynamicQuantizeLSTM(LSTM):
    """LSTM of com.microsoft on weights of 8 bits; inputs and states are rounded to bytes.

    Inputs have one scale, each sequence's state has one of its own.
    """

    op_domain = "com.microsoft"

    def __init__(self, onnx_node: onnx.NodeProto, run_params: dict[str, Any]) -> None:
        OpRun.__init__(self, onnx_node, run_params)  # onnx has no schema of it

    def run(self, *inputs: Any, **options: Any) -> tuple[Any, ...]:
        """Compute the outputs."""
        return tuple(OpRun.run(self, *inputs, **options))

    def _run(self, *inputs: Any, **attributes: Any) -> tuple[np.ndarray, ...]:
        x, w, r, *others, w_scale, w_zero, r_scale, r_zero = inputs
        lengths = others[1]
        longest = len(x) if lengths is None else int(lengths.max(initial=0))
        x = np.concatenate([_in_bytes(x[:longest]), 0 * x[longest:]])
        weights = (
            ((each.astype(F32) - _by_column(zero)) * _by_column(scale)).transpose(0, 2, 1)
            for each, scale, zero in ((w, w_scale, w_zero), (r, r_scale, r_zero))
        )
        return super()._run(x, *weights, *others, **attributes)

    def step(
        self, f: list[Function], w: np.ndarray, r: np.ndarray, b: np.ndarray, p: np.ndarray
    ) -> Step:
        """Take the step of a LSTM from a state of bytes."""
        exact = super().step(f, w, r, b, p)
        return lambda x, h, c: exact(x, _in_bytes(h, -1), c)


def _by_column(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(F32).reshape(len(numbers), 1, -1)
