"""The manifest of the images, and how a folder is checked against it; bad folders are in test_bad_input."""

import pandas as pd
import pytest
import samples

from tumor_mri.audit import near_copies, scans
from tumor_mri.datasets import download, manifests


def kinds(folder, manifest):
    return {problem.path: problem.kind for problem in manifests.verify(folder, manifest)}


def test_the_manifest_is_whole(manifest):
    assert len(manifest) == manifest["path"].nunique() == 3264
    counts = pd.crosstab(manifest["split"], manifest["class"])
    assert counts.loc["Training"].tolist() == [826, 822, 395, 827]
    assert counts.loc["Testing"].tolist() == [100, 115, 105, 74]
    assert manifest.loc[manifest["split"] == "Testing", "near_copy"].sum() == 273
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
    ct = manifest.set_index("path").loc[paths]  # each is an image of the manifest
    assert paths.is_unique and ct["cheng_slice"].isna().all()  # the Cheng set is MRI
    same = manifest["sha256"].isin(ct["sha256"])
    assert set(manifest["path"][same]) == set(paths)  # with every file of the same bytes
    count = ct.groupby(["split", "class"]).size()
    none = manifest[manifest["class"] == "no_tumor"].groupby("split").size()
    said = " ".join((manifests.DATA / "README.md").read_text(encoding="utf-8").split())
    assert f"- {len(paths)} files are CT, not MRI (`ct_scans.csv`):" in said
    in_training = f"{count['Training', 'no_tumor']} of the {none['Training']}"
    assert f"{in_training} scans without a tumour in `Training`" in said
    assert f"and {count['Testing', 'no_tumor']} of the {none['Testing']} in `Testing`" in said
    meningiomas = count["Training", "meningioma_tumor"]
    assert meningiomas == count["Testing", "meningioma_tumor"] and f"{meningiomas} meningiomas in each folder" in said
    assert f"and {count['Testing', 'glioma_tumor']} gliomas of `Testing`" in said and len(count) == 5
    card = " ".join((manifests.ROOT / "MODEL_CARD.md").read_text(encoding="utf-8").split())
    assert f"{in_training} are CT" in card and f"scans without a tumour and {meningiomas} meningiomas are CT" in card


@pytest.mark.needs_dataset
def test_the_datasheet_counts_the_copies_within_testing(manifest):
    row = pd.Series(range(len(manifest)), index=manifest["path"])
    testing = manifests.is_testing(manifest)
    whole = near_copies.near_copy_pairs(scans.manifest_thumbnails(download.find(), manifest))
    aligned = pd.read_csv(manifests.DATA / "aligned_copies.csv")
    aligned = aligned.assign(first=row[aligned["first"]].to_numpy(), second=row[aligned["second"]].to_numpy())
    found = []
    for pairs in (whole, aligned):
        both = pairs[testing[pairs["first"]] & testing[pairs["second"]]]
        found.append(set(both["first"]) | set(both["second"]))
    said = " ".join((manifests.DATA / "README.md").read_text(encoding="utf-8").split())
    assert f"- {len(found[0] | found[1])} of the {testing.sum()} Testing images have a near-copy within `Testing`:" in said
    assert f"{len(found[0])} match as whole images, {len(found[1] - found[0])} more only after one is cropped" in said
