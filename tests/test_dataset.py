"""Finding, downloading, checking and decoding the images; bad sources and folders are in test_bad_input."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from tumor_mri.datasets import decoding, download, manifests, phantoms


def tiny_dataset(folder):
    """Three files, and their manifest."""
    rows = []
    for path, content in {
        "Training/no_tumor/a.jpg": b"first image",
        "Training/no_tumor/b.jpg": b"second image",
        "Testing/no_tumor/c.jpg": b"third image",
    }.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        rows.append({"path": path, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)})
    return pd.DataFrame(rows)


def kinds(folder, manifest):
    return {problem.path: problem.kind for problem in manifests.verify(folder, manifest)}


def test_the_manifest_is_whole(manifest):
    assert len(manifest) == manifest["path"].nunique() == 3264
    counts = pd.crosstab(manifest["split"], manifest["class"])
    assert counts.loc["Training"].tolist() == [826, 822, 395, 827]
    assert counts.loc["Testing"].tolist() == [100, 115, 105, 74]
    assert manifest.loc[manifest["split"] == "Testing", "near_copy"].sum() == 258
    assert manifest.loc[manifest["split"] == "Training", "group"].nunique() == 659
    assert (manifest.dropna(subset="patient").groupby("patient")["group"].nunique() == 1).all()


def test_the_fingerprint_sees_content_and_order(manifest):
    known = manifests.fingerprint(manifest)
    assert manifests.fingerprint(manifest[::-1]) != known
    changed = manifest.copy()
    changed.loc[5, "sha256"] = "0" * 64
    assert manifests.fingerprint(changed) != known


def test_the_folder_named_comes_first_and_must_be_right(tmp_path, monkeypatch):
    tiny_dataset(tmp_path / "named" / "below")
    monkeypatch.setenv("TUMOR_MRI_DATA", str(tmp_path / "named"))
    assert download.find() == tmp_path / "named" / "below"
    monkeypatch.setenv("TUMOR_MRI_DATA", str(tmp_path / "absent"))
    with pytest.raises(manifests.DatasetError, match="TUMOR_MRI_DATA is"):
        download.find()


@pytest.mark.parametrize("layout", ["slug", "datasets/owner/slug", "datasets/owner/slug/more"])
def test_kaggle_mounts_come_before_data(tmp_path, monkeypatch, layout):
    monkeypatch.delenv("TUMOR_MRI_DATA", raising=False)
    monkeypatch.setattr(download, "KAGGLE_MOUNT", tmp_path / "input")
    monkeypatch.setattr(manifests, "LOCAL_DATA", tmp_path / "data")
    tiny_dataset(tmp_path / "data" / download.FOLDER_NAME)
    assert download.find() == tmp_path / "data" / download.FOLDER_NAME
    tiny_dataset(tmp_path / "input" / layout)
    assert download.find() == tmp_path / "input" / layout


def test_every_kind_of_problem_is_named(tmp_path):
    manifest = tiny_dataset(tmp_path)
    assert kinds(tmp_path, manifest) == {}
    a, b, c = (tmp_path / path for path in manifest["path"])
    a.rename(a.with_name("z.jpg"))
    b.write_bytes(b"short")
    c.write_bytes(b"3rd   image")
    (tmp_path / "Testing" / ".hidden").write_bytes(b"")
    assert kinds(tmp_path, manifest) == {
        "Training/no_tumor/z.jpg": "renamed",
        "Training/no_tumor/b.jpg": "truncated",
        "Testing/no_tumor/c.jpg": "altered",
        "Testing/.hidden": "extra",
    }
    (tmp_path / "Testing" / "fifth_class").mkdir()
    assert kinds(tmp_path, manifest)["Testing/fifth_class"] == "extra"
    (tmp_path / "Testing" / "fifth_class").rmdir()
    b.unlink()
    assert kinds(tmp_path, manifest)["Training/no_tumor/b.jpg"] == "missing"
    with pytest.raises(manifests.DatasetError, match="4 files differ"):
        manifests.check(tmp_path, manifest)


def test_renamed_copies_of_one_image_are_both_renamed(tmp_path):
    tiny_dataset(tmp_path)
    (tmp_path / "Training/no_tumor/b.jpg").write_bytes(b"first image")
    manifest = tiny_dataset(tmp_path)
    manifest.loc[1, ["sha256", "bytes"]] = manifest.loc[0, ["sha256", "bytes"]].to_list()
    for name in "ab":
        file = tmp_path / f"Training/no_tumor/{name}.jpg"
        file.write_bytes(b"first image")
        file.rename(file.with_name(f"renamed_{name}.jpg"))
    assert set(kinds(tmp_path, manifest).values()) == {"renamed"}


@pytest.mark.parametrize("class_name", manifests.CLASSES)
def test_phantoms_are_drawn_the_same_each_time(class_name):
    first = phantoms.draw(class_name, 1)
    assert (first.shape, first.dtype) == ((150, 150), np.uint8)
    assert np.array_equal(first, phantoms.draw(class_name, 1))
    assert not np.array_equal(first, phantoms.draw(class_name, 2))


@pytest.mark.needs_dataset
def test_the_real_images_are_the_manifests(manifest):
    assert manifests.verify(download.find(), manifest) == []


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
    decoding.cached("images", (3, 3), tiny_dataset(folder.parent / "dataset"), lambda: np.ones((3, 3, 3), dtype=np.uint8))
    (file,) = folder.glob("*.npy")
    return file


def again(folder):
    """The cached images; zeros if they had to be made again."""
    return decoding.cached("images", (3, 3), tiny_dataset(folder.parent / "dataset"), lambda: np.zeros((3, 3, 3), dtype=np.uint8))


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
