"""Images as arrays: those of Keras, cached, and shown no larger than their sources allow."""

import numpy as np
import pytest
import samples

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


def cache(folder, monkeypatch):
    """Let `folder` be the cache, and give its file of three images of 3 by 3 pixels, all ones."""
    monkeypatch.setattr(decoding, "_cache_folder", lambda: folder)
    decoding.cached("images", (3, 3), samples.tiny_dataset(folder.parent / "dataset"), lambda: np.ones((3, 3, 3), dtype=np.uint8))
    (file,) = folder.glob("*.npy")
    return file


def again(folder):
    """The cached images; zeros if they had to be made again."""
    return decoding.cached(
        "images", (3, 3), samples.tiny_dataset(folder.parent / "dataset"), lambda: np.zeros((3, 3, 3), dtype=np.uint8)
    )


def test_cached_images_that_were_altered_are_made_again(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    file = cache(folder, monkeypatch)
    assert again(folder).all()
    content = bytearray(file.read_bytes())
    content[-1] ^= 2  # one pixel: the size and the type are as they were
    file.write_bytes(content)
    assert not again(folder).any()
    assert not again(folder).any()  # from the cache, which was written again
    file.with_name(f"{file.name}.sha256").unlink()
    with pytest.raises(FileNotFoundError):
        decoding._read(file)


@pytest.mark.skipif(not hasattr(decoding.os, "getuid"), reason="folders have no owner here")
@pytest.mark.parametrize("kind", ["open to others", "somebody else's", "a link"])
def test_a_temporary_folder_that_is_not_ours_is_not_used(tmp_path, monkeypatch, kind, capfd):
    ours = tmp_path / f"tumor_mri-{decoding.os.getuid()}"
    monkeypatch.setattr(decoding.tempfile, "tempdir", str(tmp_path))
    cache(ours, monkeypatch)
    (tmp_path / "full").write_text("no folder")
    monkeypatch.setattr(decoding, "_cache_folder", lambda: tmp_path / "full")
    assert again(ours).all()
    if kind == "open to others":
        ours.chmod(0o770)
    elif kind == "a link":
        ours.rename(tmp_path / "theirs")
        ours.symlink_to(tmp_path / "theirs")
    else:
        monkeypatch.setattr(decoding.os, "getuid", lambda: 12345)
        ours.rename(tmp_path / "tumor_mri-12345")
        ours = tmp_path / "tumor_mri-12345"
    assert not again(ours).any()
    assert f"{ours}: " in capfd.readouterr().err


@pytest.mark.needs_dataset
def test_a_damaged_cache_is_made_anew(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "_cache_folder", lambda: tmp_path)
    (tmp_path / f"images-150-{manifests.fingerprint(manifest)}.npy").write_bytes(b"damaged")
    images = decoding.load_images(manifest)
    assert images.shape == (3264, 150, 150)
    assert len(list(tmp_path.iterdir())) == 2  # the images and their digest
