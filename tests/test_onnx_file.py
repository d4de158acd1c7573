"""The network as an ONNX file: it gives the answers of Keras, and Grad-CAM without a gradient."""

import time

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from tumor_mri import __main__ as cli
from tumor_mri.datasets import download, manifests, phantoms
from tumor_mri.models import efficientnet, gradcam, networks, onnx_file, published


@pytest.fixture(scope="module")
def scans():
    return np.random.default_rng(0).integers(0, 256, (5, *published.size(), 1)).astype(np.float32)


@pytest.fixture(scope="module")
def trained():
    return published.load_keras()


@pytest.mark.needs_dataset
def test_onnx_and_keras_agree_on_all_of_testing(manifest, trained):
    testing = published.recipe().load(manifest, "")[manifests.is_testing(manifest)][..., None]
    features, probabilities, heat = onnx_file.answer(published.load().session, testing)
    expected = onnx_file.with_outputs(trained).predict(testing, verbose=0)
    assert len(testing) == 394 and heat.shape[0] == 394 and heat.shape[3] == 4
    for ours, theirs in zip((features, probabilities, heat), expected, strict=True):
        assert np.abs(ours - theirs).max() < 1e-4


def test_an_export_of_today_answers_like_the_published_file(trained, scans, tmp_path):
    onnx_file.write(trained, tmp_path / "again.onnx")
    again = onnx_file.answer(onnx_file.open_session(tmp_path / "again.onnx"), scans)
    for ours, theirs in zip(again, onnx_file.answer(published.load().session, scans), strict=True):
        assert np.allclose(ours, theirs, atol=1e-5)


def test_heat_is_grad_cam(trained, scans):
    *_, heat = onnx_file.answer(published.load().session, scans)
    for index in range(4):
        expected = gradcam.heat_maps(trained, scans[..., 0], [index] * len(scans))
        for ours, theirs in zip(heat[..., index], expected, strict=True):
            scaled = ours / max(ours.max(), 1e-12)
            large = np.asarray(Image.fromarray(scaled).resize(published.size()[::-1], Image.Resampling.BILINEAR))
            assert np.abs(large - theirs).max() < 1e-3


@pytest.mark.parametrize("pooling", efficientnet.POOLINGS)
def test_the_pretrained_network_is_exported_too(pooling, tmp_path):
    model = efficientnet.build_efficientnet((64, 64, 1), weights=None, pooling=pooling)
    onnx_file.write(model, tmp_path / "lite.onnx")
    scans = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 1)).astype(np.float32)
    found = onnx_file.answer(onnx_file.open_session(tmp_path / "lite.onnx"), scans)
    expected = onnx_file.with_outputs(model).predict(scans, verbose=0)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.allclose(ours, theirs, atol=1e-4)
    assert np.allclose(found[1].sum(axis=1), 1, atol=1e-5)


def test_a_network_that_flattens_has_no_such_heat(tmp_path):
    from tumor_mri._keras import keras

    flat = networks.build_residual(pooling=False)
    scans = keras.Input((96, 96, 1))
    maps = keras.layers.Flatten(name="features")(keras.layers.Conv2D(2, 3)(scans))
    named = keras.Model(scans, keras.layers.Dense(4, "softmax")(maps), name="flat")
    with pytest.raises(ValueError, match="features of flat are not pooled"):
        onnx_file.write(named, tmp_path / "flat.onnx")
    with pytest.raises(ValueError, match="features"):
        onnx_file.write(flat, tmp_path / "flat.onnx")
    assert not list(tmp_path.iterdir())


def test_what_is_no_such_file_is_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ValueError, match=r"text.onnx is not a network in ONNX"):
        onnx_file.open_session(tmp_path / "text.onnx")
    with pytest.raises(FileNotFoundError):
        onnx_file.open_session(tmp_path / "absent.onnx")
    import onnx
    from onnx import TensorProto, helper

    one = helper.make_tensor_value_info("scans", TensorProto.FLOAT, [1])
    two = helper.make_tensor_value_info("same", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["scans"], ["same"])], "g", [one], [two])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="has the outputs same, expected features, probabilities, heat"):
        onnx_file.open_session(tmp_path / "other.onnx")


def test_the_file_runs_on_the_runtime_alone():
    session = onnxruntime.InferenceSession(published.FOLDER / published.ONNX)
    (shown,) = session.get_inputs()
    assert (shown.name, shown.shape, shown.type) == ("scans", ["batch", *published.size(), 1], "tensor(float)")
    assert (published.FOLDER / published.ONNX).stat().st_size < 10_000_000


@pytest.mark.needs_dataset
def test_a_whole_folder_takes_seconds():
    files = published.files_in(download.locate() / "Testing")
    started = time.process_time()
    found = published.predict(files, published.load())
    assert time.process_time() - started < 20 and len(found) == 394 and (found["problem"] == "").all()


def test_heat_maps_are_written_beside_the_scans(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / "scans" / name).mkdir(parents=True)
        Image.fromarray(phantoms.draw("glioma_tumor", seed=1)).save(tmp_path / "scans" / name / "same.png")
    assert cli.main(["predict", str(tmp_path / "scans"), "--heat", str(tmp_path / "heat")]) == 0
    assert sorted(path.name for path in (tmp_path / "heat").iterdir()) == ["b-same.png.heat.png", "same.png.heat.png"]
    with Image.open(tmp_path / "heat/same.png.heat.png") as picture:
        side = 3 * published.size()[0]
        assert picture.size == (2 * side, side)
        left, right = (np.asarray(picture)[:, part] for part in (slice(side), slice(side, None)))
    assert (left[..., 0] == left[..., 2]).all() and np.abs(left.astype(int) - right).max() > 20
