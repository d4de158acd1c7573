"""Images as arrays: those of Keras, cached, and shown no larger than their sources allow."""

import numpy as np
import pytest

from tumor_mri.datasets import decoding, download, manifests


@pytest.mark.needs_dataset
def test_cached_pixels_are_keras_pixels(manifest):
    from tumor_mri._keras import keras

    images = decoding.load_images(manifest)
    testing = keras.utils.image_dataset_from_directory(
        download.find() / "Testing", image_size=(150, 150), shuffle=False, verbose=False
    )
    theirs = np.concatenate([batch.numpy() for batch, _ in testing])
    assert np.array_equal(theirs[..., 0], theirs[..., 1])
    assert np.array_equal(theirs[..., 0], theirs[..., 2])
    assert np.abs(images[(manifest["split"] == "Testing").to_numpy()] - theirs[..., 0]).max() <= 0.5


@pytest.mark.needs_dataset
def test_sizes_are_those_of_the_files(manifest):
    from PIL import Image

    for row in manifest.iloc[::40].itertuples():
        with Image.open(download.find() / row.path) as image:
            assert image.size == (row.width, row.height)
    assert max(decoding.scan(manifest["path"][3000], download.find()).shape) == 150


@pytest.mark.needs_dataset
def test_a_damaged_cache_is_made_anew(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "_cache_folder", lambda: tmp_path)
    (tmp_path / f"images-150-{manifests.fingerprint(manifest)}.npy").write_bytes(b"damaged")
    images = decoding.load_images(manifest)
    assert images.shape == (3264, 150, 150)
    assert len(list(tmp_path.iterdir())) == 1
