"""A small file of Keras fills no memory, by whatever it says or compresses."""

import io
import warnings
import zipfile

import numpy as np
import pytest
import sardonyx

keras = pytest.importorskip("keras")
h5py = pytest.importorskip("h5py")

HUGE = 10**9  # elements


def saved(path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, name="big")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
    return path


def kernel_of(file):
    names = []
    file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
    return next(name for name in names if "kernel" in name or name.endswith("vars/0"))


def with_kernel(file, **options):
    """Replace the only matrix of weights of a file by a dataset."""
    name = kernel_of(file)
    del file[name]
    file.create_dataset(name, dtype="f4", **options)


def with_entries(path, **changed):
    """Write an archive again, with other contents of some entries."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, changed.get(name.split(".")[-1], lambda old: old)(data))


def declared(path):
    if path.suffix == ".keras":
        with_entries(path, json=lambda data: data.replace(b'"units": 8', b'"units": %d' % HUGE))
        return
    with h5py.File(path, "r+") as file:
        config = file.attrs["model_config"]
        file.attrs["model_config"] = config.replace('"units": 8', f'"units": {HUGE}')
        file.attrs["keras_version"] = "2.4.0"


def compressed(path):
    options = {"shape": (4, HUGE), "chunks": (1, 10**6), "compression": "gzip"}
    if path.suffix == ".keras":

        def changed(data):
            stream = io.BytesIO(data)
            with h5py.File(stream, "r+") as file:
                with_kernel(file, **options)
            return stream.getvalue()

        with_entries(path, h5=changed)
        return
    with h5py.File(path, "r+") as file:
        with_kernel(file, **options)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("change", [declared, compressed])
def test_weights_that_a_small_file_makes_large_are_refused_by_name(tmp_path, suffix, change):
    path = saved(tmp_path / f"model{suffix}")
    change(path)
    with pytest.raises(
        sardonyx.UnsupportedModel, match=r"(big.*kernel|vars/0).*16000000000 bytes.*expansion_limit"
    ):
        sardonyx.load(path)


def test_weights_of_a_file_for_a_model_at_hand_are_limited_too(tmp_path):
    path = saved(tmp_path / "model.h5")
    compressed(path)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, name="big")])
    with pytest.raises(sardonyx.UnsupportedModel, match=r"kernel.*expansion_limit"):
        sardonyx.load(path, model=model)


def test_entries_of_an_archive_are_limited_before_they_are_unpacked(tmp_path):
    path = saved(tmp_path / "model.keras")
    with_entries(path, h5=lambda data: data + bytes(1 << 20))
    size = path.stat().st_size
    assert size < 1 << 17
    sardonyx.load(path)
    with pytest.raises(sardonyx.UnsupportedModel, match=r"entry 'model\.weights\.h5'"):
        sardonyx.load(path, expansion_limit=1 << 20)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_limit_can_be_set_and_values_are_those_of_the_file(tmp_path, suffix):
    path = saved(tmp_path / f"model{suffix}")
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    want = keras.models.load_model(path).predict(x, verbose=0)
    model = sardonyx.load(path, expansion_limit=1 << 20)
    np.testing.assert_allclose(sardonyx.Session(model)(x), want, rtol=1e-5, atol=1e-6)
    with pytest.raises(sardonyx.UnsupportedModel, match="expansion_limit"):
        sardonyx.load(path, expansion_limit=100)
    with pytest.raises(sardonyx.InvalidArgument, match="expansion_limit must be a number"):
        sardonyx.load(path, expansion_limit=-1)


@pytest.mark.parametrize("kind", ["external", "link", "virtual"])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_data_of_other_files_is_not_read(tmp_path, suffix, kind):
    (tmp_path / "secret").write_bytes(bytes(128))
    path = saved(tmp_path / f"model{suffix}")

    def changed(file):
        name = kernel_of(file)
        del file[name]
        if kind == "external":
            external = [(str(tmp_path / "secret"), 0, 128)]
            file.create_dataset(name, shape=(4, 8), dtype="f4", external=external)
        elif kind == "link":
            file[name] = h5py.ExternalLink(str(tmp_path / "secret"), name)
        else:
            layout = h5py.VirtualLayout((4, 8), "f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret"), "x", (4, 8))
            file.create_virtual_dataset(name, layout)

    def in_archive(data):
        stream = io.BytesIO(data)
        with h5py.File(stream, "r+") as file:
            changed(file)
        return stream.getvalue()

    if suffix == ".keras":
        with_entries(path, h5=in_archive)
    else:
        with h5py.File(path, "r+") as file:
            changed(file)
    with pytest.raises(sardonyx.InvalidModel, match="lies in another file"):
        sardonyx.load(path)


def test_links_may_lead_in_a_circle(tmp_path):
    path = saved(tmp_path / "model.h5")
    with h5py.File(path, "r+") as file:
        file["model_weights"]["circle"] = h5py.SoftLink("/model_weights")
        file["model_weights"]["same"] = file["model_weights"]
        file["model_weights"]["nothing"] = h5py.SoftLink("/gone")
    sardonyx.load(path)
