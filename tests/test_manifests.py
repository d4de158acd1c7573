"""The manifest of the images, and how a folder is checked against it; bad folders are in test_bad_input."""

import pandas as pd
import pytest
import samples

from tumor_mri.datasets import download, manifests


def kinds(folder, manifest):
    return {problem.path: problem.kind for problem in manifests.verify(folder, manifest)}


def test_the_manifest_is_whole(manifest):
    assert len(manifest) == manifest["path"].nunique() == 3264
    counts = pd.crosstab(manifest["split"], manifest["class"])
    assert counts.loc["Training"].tolist() == [826, 822, 395, 827]
    assert counts.loc["Testing"].tolist() == [100, 115, 105, 74]
    assert manifest.loc[manifest["split"] == "Testing", "near_copy"].sum() == 269
    assert manifest.loc[manifest["split"] == "Training", "group"].nunique() == 606
    assert (manifest.dropna(subset="patient").groupby("patient")["group"].nunique() == 1).all()


def test_the_fingerprint_sees_content_and_order(manifest):
    known = manifests.fingerprint(manifest)
    assert manifests.fingerprint(manifest[::-1]) != known
    changed = manifest.copy()
    changed.loc[5, "sha256"] = "0" * 64
    assert manifests.fingerprint(changed) != known


def test_every_kind_of_problem_is_named(tmp_path):
    manifest = samples.tiny_dataset(tmp_path)
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
    samples.tiny_dataset(tmp_path)
    (tmp_path / "Training/no_tumor/b.jpg").write_bytes(b"first image")
    manifest = samples.tiny_dataset(tmp_path)
    manifest.loc[1, ["sha256", "bytes"]] = manifest.loc[0, ["sha256", "bytes"]].to_list()
    for name in "ab":
        file = tmp_path / f"Training/no_tumor/{name}.jpg"
        file.write_bytes(b"first image")
        file.rename(file.with_name(f"renamed_{name}.jpg"))
    assert set(kinds(tmp_path, manifest).values()) == {"renamed"}


@pytest.mark.needs_dataset
def test_the_real_images_are_the_manifests(manifest):
    assert manifests.verify(download.find(), manifest) == []


def test_the_datasheet_counts_the_ct_scans(manifest):
    paths = pd.read_csv(manifests.DATA / "ct_scans.csv")["path"]
    scans = manifest.set_index("path").loc[paths]  # each is an image of the manifest
    assert paths.is_unique and scans["cheng_slice"].isna().all()  # the Cheng set is MRI
    same = manifest["sha256"].isin(scans["sha256"])
    assert set(manifest["path"][same]) == set(paths)  # with every file of the same bytes
    count = scans.groupby(["split", "class"]).size()
    none = manifest[manifest["class"] == "no_tumor"].groupby("split").size()
    said = " ".join((manifests.DATA / "README.md").read_text(encoding="utf-8").split())
    assert f"- {len(paths)} files are CT, not MRI (`ct_scans.csv`):" in said
    in_training = f"{count['Training', 'no_tumor']} of the {none['Training']}"
    assert f"{in_training} scans without a tumour in `Training`" in said
    assert f"and {count['Testing', 'no_tumor']} of the {none['Testing']} in `Testing`" in said
    assert count["Training", "meningioma_tumor"] == count["Testing", "meningioma_tumor"] == 5
    assert count["Testing", "glioma_tumor"] == 3 and count.sum() == 31 + 29 + 5 + 5 + 3
    assert f"{in_training} are CT" in " ".join((manifests.ROOT / "MODEL_CARD.md").read_text(encoding="utf-8").split())
