"""Where the images are looked for; bad sources are in test_bad_input."""

import pytest
import samples

from tumor_mri.datasets import download, manifests


def test_the_folder_named_comes_first_and_must_be_right(tmp_path, monkeypatch):
    samples.tiny_dataset(tmp_path / "named" / "below")
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
    samples.tiny_dataset(tmp_path / "data" / manifests.BRAIN_TUMOUR_MRI.name)
    assert download.find() == tmp_path / "data" / manifests.BRAIN_TUMOUR_MRI.name
    samples.tiny_dataset(tmp_path / "input" / layout)
    assert download.find() == tmp_path / "input" / layout
