"""Kernels that the runtime compiles for GPUs: each of them, for types whose code differs."""

from __future__ import annotations

from typing import Any

from ..ref import KernelRef

_KERNELS: dict[str, list[Any]] = {
    "attention.attention": [()],
    "byte_tables.look_up_bytes": [()],
    "concat.concat": [()],
    "convolution.convolution": [(kind, 32, 32, 16, 2, 2) for kind in ("f32", "f64", "i32")],
    "copy.copy": [(1,), (8,)],
    "depthwise_convolution.depthwise_convolution": [("f32",), ("i32",)],
    "extremes.extremes": [()],
    "extremes.scale_and_zero": [()],
    "fill.arange": [("f32",), ("i64",), ("i16",)],
    "fill.eye": [(4,)],
    "fill.fill": [(2,)],
    "fill.one_hot": [(4, "i64"), (4, "f32")],
    "fill.trilu": [(1,)],
    "gather.gather": [(4, "i64"), (1, "i32")],
    "gather.gather_elements": [(8, "i32")],
    "gather.gather_nd": [(4,)],
    "layer_norm.layer_norm": [(0,), (1,), (0, "bf16")],
    "log_sum_exp.log_sum_exp": [("f32",)],
    "lrn.lrn": [("f32", "f32", 0)],
    "max_pool_indices.max_pool_indices": [("f32",), ("i8",)],
    "norm.channel_norm": [()],
    "norm.group_norm": [()],
    "norm.lp_norm": [(0,), (1,), (2,)],
    "arg_extremes.arg_extreme": [("f32", 1), ("u8", 0)],
    "order.cumulative": [("f32", "sum"), ("i32", "product")],
    "pad.pad": [(4,)],
    "pool.pool": [("max", "f32"), ("mean", "f64"), ("max", "u8")],
    "product.product": [
        ("f32", 128, 128, 8, 8, 8), ("f32", 32, 32, 16, 2, 2), ("i32", 128, 128, 8, 8, 8),
        ("u64", 32, 32, 16, 2, 2),
    ],
    "recurrent_layer.recurrent_layer": [
        ("lstm", "sigmoid tanh tanh", "", 0, "f32"),
        ("lstm", "hardsigmoid softplus softsign", "coupled peepholes", 1, "f32"),
        ("gru", "sigmoid tanh", "", 0, "f32"), ("gru_linear", "affine elu", "", 0, "f64"),
        ("rnn", "scaledtanh", "", 1, "f32"),
    ],
    "reduce.reduce": [
        *((kind, "f32") for kind in ("sum", "mean", "max", "prod", "l1", "l2", "log_sum")),
        ("max", "i8"), ("sum", "u64"), ("mean", "f64"),
    ],
    "resample.axis_weights": [("f32",), ("f64",)],
    "resample.blend_axis": [("f32",), ("f64",)],
    "resample.nearest_positions": [()],
    "resize.resize": [(2,), (4,)],
    "resize.resize_nearest": [(1,), (4,)],
    "reverse.reverse_sequence": [(4,)],
    "rotary.rotary": [(0,), (1,)],
    "scatter.scatter_elements": [("f32", "i64", "add"), ("u32", "i32", "max")],
    "scatter.scatter_nd": [("i64", "none"), ("f64", "min"), ("i32", "mul")],
    "scatter_in_order.scatter_elements": [("u8", "i32", "max")],
    "scatter_in_order.scatter_nd": [("i16", "add")],
    "softmax.softmax": [(0,), (1,), (0, 1)],
    "tensor_scatter.check_begins": [()],
    "tensor_scatter.tensor_scatter": [()],
    "top_k.top_k": [("f32", 1), ("i64", 0), ("u64", 1)],
    "words.store_words": [()],
    "pointwise.pointwise": [
        ("add(x0,x1)", "f32v f32v f32s"),
        ("add(x0,x1)", "bf16v bf16v f16g"),
        ("where(x0,x1,x2)", "f32v b8v f32v f32g"),
        *((f"{name}(x0)", "f32v f32v") for name in (
            "exp", "log", "sqrt", "erf", "tanh", "sigmoid", "relu", "floor", "ceil", "round",
            "sign", "abs", "neg", "sin", "acos", "atanh", "expm1", "log1p",
        )),
        ("asin(x0)", "f64v f64v"),
        ("relu(x0)", "i64v i64v"),
        ("idiv(x0,divisor(x1))", "i64v i64v i64v"),
        ("idiv_narrow(x0,divisor(x1))", "i32v i32v i32v"),
        ("imod(x0,divisor(x1))", "u8v u8v u8v"),
        ("ifmod(x0,divisor(x1))", "i16v i16v i16v"),
        ("ipow(x0,x1)", "i32v i32v i64v"),
        ("pow(x0,x1)", "f32v f32v f32s"),
        ("fmod(x0,x1)", "f32v f32v f32v"),
        ("shift_left(x0,x1)", "u64v u64v u64v"),
        ("float_to_u8(x0)", "u8v f32v"),
        ("float_to_u64(x0)", "u64v f32v"),
        ("to_i8(x0)", "i8v i64v"),
        ("to_f16(mul(x0,x1))", "f16v f16v f16v"),
        ("to_bf16(x0)", "bf16v f32v"),
        ("logical_xor(x0,x1)", "b8v b8v b8v"),
        ("is_inf(x0,1,1)", "b8v f32v"),
        ("saturate(add(round(div(x0,x1)),x2),-128.0,127.0)", "i8v f32v f32s f32s"),
        ("if_less(x0,0.0,mul(x0,x1),x0)", "f32v f32v f32s"),
        ("clip(x0,x1,x2)", "f32v f32v f32s f32s"),
    ],
}  # fmt: skip

REFS = [
    KernelRef(f"kernels.cuda.{module}", function, tuple(parameters))
    for name, several in _KERNELS.items()
    for module, function in [name.split(".")]
    for parameters in several
]
