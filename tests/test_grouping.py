"""The manifest, groups and folds: those committed, made again from the images, and those of any folder of class folders."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tumor_mri import __main__ as cli
from tumor_mri.audit import copy_calibration, grouping, near_copies
from tumor_mri.datasets import download, manifests, phantoms, protocols

CLASSES = ("glioma_tumor", "no_tumor")


def save(path, class_name, seed, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(phantoms.draw(class_name, seed)).save(path, **settings)


@pytest.fixture
def folder(tmp_path):
    """Two classes of six different phantoms, no splits; `a0.png` is the first glioma."""
    for class_name in CLASSES:
        for seed in range(6):
            save(tmp_path / "images" / class_name / f"{class_name[0]}{seed}.png", class_name, seed)
    return tmp_path / "images"


def groups_of(manifest):
    return manifest.set_index("path")["group"]


# --- the project's tables


@pytest.fixture(scope="module")
def made():
    return grouping.build_manifest(download.find(), grouping.load_known())


@pytest.mark.needs_dataset
def test_the_committed_tables_come_out_again(made, manifest):
    assert grouping.check_committed(made) == []
    exact = [name for name in manifests.COLUMNS if name != "nearest_training_corr"]
    pd.testing.assert_frame_equal(made[exact], manifest[exact], check_dtype=False)
    assert (made["nearest_training_corr"] - manifest["nearest_training_corr"]).abs().max() < grouping.LAST_DIGIT
    assert (made["nearest_training_corr"] != manifest["nearest_training_corr"]).sum() <= 10  # 3 on the machine of this test
    pd.testing.assert_frame_equal(grouping.groups_table(made), manifests.load_groups())


def test_groups_of_version_2_add_aligned_copies_and_separate_nothing():
    first, second = manifests.load_groups(1), manifests.load_groups()
    assert list(first["path"]) == list(second["path"])
    assert (second.groupby(first["group"])["group"].nunique() == 1).all()  # each group of version 1 lies in one of version 2
    group = second.set_index("path")["group"]
    copies = pd.read_csv(copy_calibration.UNLINKED)
    assert (group[copies["first"]].to_numpy() == group[copies["second"]].to_numpy()).all()
    training = second["path"].str.startswith("Training/")
    assert (second["fold"] >= 0).eq(training).all()
    assert (second[training].groupby("group")["fold"].nunique() == 1).all()
    assert [table[training]["group"].nunique() for table in (first, second)] == [659, 606]
    unseen = [(~training & ~table["group"].isin(table["group"][training])).sum() for table in (first, second)]
    assert unseen == [133, 118]


@pytest.mark.slow
@pytest.mark.needs_dataset
def test_groups_of_version_1_come_out_again():
    made = grouping.build_manifest(download.find(), grouping.load_known(), version=1)
    assert grouping.differences(grouping.groups_table(made, version=1), manifests.load_groups(1)) == []


@pytest.mark.needs_dataset
def test_what_was_edited_is_named(made, manifest):
    edited = manifest.copy()
    edited.loc[3, "near_copy"] = 1 - edited.loc[3, "near_copy"]
    edited.loc[7, "nearest_training_corr"] += 0.0003
    first, second = grouping.differences(made, edited)
    assert first.startswith(f"{manifest['path'][7]}: nearest_training_corr is ")
    assert second.startswith(f"{manifest['path'][3]}: near_copy is ")
    assert grouping.differences(made, manifest[:-1]) == [f"{manifest['path'].iloc[-1]} has no row"]
    assert "more than one row" in grouping.differences(made, manifest.iloc[[0, *range(len(manifest))]])[0]
    assert grouping.differences(made, manifest[::-1]) == ["the rows are in another order"]
    assert "the columns are" in grouping.differences(made, manifest.drop(columns="near_copy"))[0]


def test_groups_follow_from_the_committed_columns(manifest):
    """Without an image: patients and the nearest near-copy link no two groups, and numbers follow the first path."""
    row_of = pd.Series(range(len(manifest)), index=manifest["path"])
    near = manifest[manifest["nearest_training_corr"] > near_copies.NEAR_COPY]
    pairs = pd.DataFrame({"first": near.index, "second": row_of[near["nearest_training"]].to_numpy()})
    assert (manifest["group"].to_numpy()[pairs["first"]] == manifest["group"].to_numpy()[pairs["second"]]).all()
    chain = manifest.sort_values("group", kind="stable").index.to_numpy()
    same = manifest["group"].to_numpy()[chain[:-1]] == manifest["group"].to_numpy()[chain[1:]]
    links = pd.DataFrame({"first": chain[:-1][same], "second": chain[1:][same]})
    numbers = grouping.group_numbers(manifest["path"], manifest["patient"], links)
    assert np.array_equal(numbers, manifest["group"])


def test_folds_are_those_of_the_protocol(manifest):
    fold = grouping.groups_table(manifest)["fold"].to_numpy()
    for number in range(protocols.GROUPED_FOLDS):
        assert np.array_equal(np.flatnonzero(fold == number), np.sort(protocols.grouped(manifest, number).validation))
    grouping.check_groups(manifest)


def test_known_slices_are_those_of_the_manifest(manifest):
    known = grouping.load_known()
    assert known["sha256"].is_unique
    joined = manifest[["sha256"]].merge(known, on="sha256", how="left")
    pd.testing.assert_frame_equal(joined[grouping.KNOWN], manifest[grouping.KNOWN])


# --- tables that were edited or cut


def copied(tmp_path, monkeypatch, name, edit):
    """The committed tables in another folder, one of them changed by `edit`, a function of its text."""
    for table in ("manifest.csv", "groups.csv", "groups_1.csv", "known_slices.csv"):
        (tmp_path / table).write_bytes((manifests.DATA / table).read_bytes())
    before = (tmp_path / name).read_text(encoding="utf-8")
    after = edit(before)
    assert after != before
    (tmp_path / name).write_text(after, encoding="utf-8", newline="")
    monkeypatch.setattr(manifests, "DATA", tmp_path)
    dataset = replace(manifests.BRAIN_TUMOUR_MRI, manifest=tmp_path / "manifest.csv")
    monkeypatch.setattr(manifests, "BRAIN_TUMOUR_MRI", dataset)
    monkeypatch.setitem(manifests.DATASETS, dataset.name, dataset)


def cell(column, row, value):
    """An edit of one cell of a table's text."""

    def edit(text):
        lines = text.splitlines()
        cells = lines[row].split(",")
        cells[lines[0].split(",").index(column)] = value
        lines[row] = ",".join(cells)
        return "\n".join(lines) + "\n"

    return edit


def without_column(text):
    return "\n".join(line.rsplit(",", 1)[0] for line in text.splitlines())


EDITS = {
    "near-copy": (cell("near_copy", 5, "1"), "3,264 rows, and at least one cell or row differs"),
    "class": (cell("class", 5, "no_tumor"), "3,264 rows, and at least one cell or row differs"),
    "group": (cell("group", 5, "7"), "3,264 rows, and at least one cell or row differs"),
    "doubled row": (lambda text: text + text.splitlines()[-1] + "\n", "3,265 rows"),
    "half": (lambda text: text[: len(text) // 2], "it has 1,"),
    "empty": (lambda text: "", "it is empty"),
    "semicolons": (lambda text: text.replace(",", ";"), "it lacks the columns path, sha256"),
    "missing column": (without_column, "it lacks the columns near_copy"),
}


@pytest.mark.parametrize(("edit", "reason"), EDITS.values(), ids=list(EDITS))
def test_an_edited_manifest_is_refused(tmp_path, monkeypatch, capsys, edit, reason):
    copied(tmp_path, monkeypatch, "manifest.csv", edit)
    with pytest.raises(manifests.DatasetError, match="manifest.csv is not the table that was committed") as refused:
        manifests.load_manifest()
    assert reason in str(refused.value)
    assert cli.main(["verify", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_line_ends_and_a_byte_order_mark_change_nothing(tmp_path, monkeypatch, manifest):
    copied(tmp_path, monkeypatch, "manifest.csv", lambda text: "\ufeff" + text.replace("\n", "\r\n"))
    pd.testing.assert_frame_equal(manifests.load_manifest(), manifest)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (cell("fold", 9, "-1"), "does not fit the manifest: 1 difference, the first is "),
        (cell("group", 9, "1"), "does not fit the manifest: 1 difference, the first is "),
        (cell("group", 9, "one"), "not a number"),
        (lambda text: "", "cannot be read as a table"),
        (lambda text: text.replace(",", ";"), "needs the columns path, group, fold, version"),
        (lambda text: text.replace(",2\n", ",1\n"), "rows of version 2"),
        (lambda text: text[: len(text) // 2].rsplit("\n", 1)[0], "has no row"),
    ],
)
def test_edited_groups_are_refused(tmp_path, monkeypatch, manifest, edit, reason):
    copied(tmp_path, monkeypatch, "groups.csv", edit)
    with pytest.raises(manifests.DatasetError, match="groups.csv") as refused:
        grouping.check_groups(manifest)
    assert reason in str(refused.value)


def test_groups_without_a_version_are_of_version_1(tmp_path, monkeypatch, manifest):
    first = manifests.load_groups(1)
    copied(tmp_path, monkeypatch, "groups_1.csv", without_column)
    pd.testing.assert_frame_equal(manifests.load_groups(1), first)


def test_edited_known_slices_are_refused(tmp_path, monkeypatch):
    copied(tmp_path, monkeypatch, "known_slices.csv", cell("patient", 4, "nobody"))
    with pytest.raises(manifests.DatasetError, match="known_slices.csv is not the table that was committed"):
        grouping.load_known()


# --- any folder of class folders


def test_any_folder_has_a_manifest(folder):
    made = grouping.build_manifest(folder)
    assert list(made.columns) == manifests.COLUMNS
    assert list(made["path"]) == sorted(made["path"])
    assert made[grouping.KNOWN].isna().all(axis=None)
    assert set(made["split"]) == {""}
    assert (made[["width", "height"]] == phantoms.SIZE).all(axis=None)
    assert list(made["bytes"]) == [(folder / path).stat().st_size for path in made["path"]]
    assert list(made["group"]) == list(range(12))
    assert not made["near_copy"].any()
    table = grouping.groups_table(made)
    assert sorted(set(table["fold"])) == [0, 1, 2, 3, 4]
    assert grouping.fold_count(made) == (5, "")


def test_the_largest_split_comes_first_and_has_the_folds(folder, tmp_path):
    for class_name in CLASSES:
        (tmp_path / "two/train").mkdir(parents=True, exist_ok=True)
        (folder / class_name).rename(tmp_path / "two/train" / class_name)
    save(tmp_path / "two/a_test/no_tumor/x.png", "no_tumor", 3)
    made = grouping.build_manifest(tmp_path / "two")
    assert list(made["split"]) == 12 * ["train"] + ["a_test"]
    assert made["near_copy"].tolist() == 12 * [0] + [1]
    assert made["nearest_training"].iloc[-1] == "train/no_tumor/n3.png"
    assert made["group"].iloc[-1] == 0  # the first path of all, and its copy shares its group
    assert groups_of(made)["train/no_tumor/n3.png"] == 0
    assert grouping.groups_table(made)["fold"].iloc[-1] == -1


def test_a_copy_joins_the_groups_of_two_patients(folder):
    patients = pd.DataFrame({"path": ["*/g[012].png", "*/g[34].png", "no_tumor/n0.png"], "patient": ["A", "B", "C"]})
    apart = groups_of(grouping.build_manifest(folder, patients=patients))
    a, b = apart["glioma_tumor/g0.png"], apart["glioma_tumor/g3.png"]
    assert (apart[[f"glioma_tumor/g{n}.png" for n in (0, 1, 2)]] == a).all()
    assert apart["glioma_tumor/g4.png"] == b != a
    save(folder / "glioma_tumor/g4.png", "glioma_tumor", 1, compress_level=0)  # B's fourth is A's second, other bytes
    joined = grouping.build_manifest(folder, patients=patients)
    together = groups_of(joined)[[f"glioma_tumor/g{n}.png" for n in range(5)]]
    assert together.nunique() == 1
    assert joined["sha256"].is_unique
    fold = grouping.groups_table(joined).groupby("group")["fold"].nunique()
    assert (fold == 1).all()


def test_a_moved_copy_is_in_the_group_of_its_original(folder):
    before = groups_of(grouping.build_manifest(folder))
    assert before["glioma_tumor/g5.png"] != before["no_tumor/n5.png"]
    (folder / "no_tumor/n5.png").write_bytes((folder / "glioma_tumor/g5.png").read_bytes())
    made = grouping.build_manifest(folder)
    after = groups_of(made)
    assert after["glioma_tumor/g5.png"] == after["no_tumor/n5.png"]
    assert made["near_copy"].sum() == 2


def test_a_second_search_adds_its_pairs(folder, monkeypatch):
    seen = []

    def search(where, table, thumbnails):
        seen.append((where, len(table), thumbnails.shape))
        rows = {path: row for row, path in enumerate(table["path"])}
        pair = {"first": [rows["glioma_tumor/g0.png"]], "second": [rows["no_tumor/n0.png"]], "correlation": [0.98]}
        return pd.concat([grouping.whole_image_pairs(where, table, thumbnails), pd.DataFrame(pair)])

    monkeypatch.setitem(grouping.PAIRS_OF, 9, search)
    made = grouping.build_manifest(folder, version=9)
    assert seen == [(folder, 12, (12, near_copies.SIDE**2))]
    assert groups_of(made)["no_tumor/n0.png"] == groups_of(made)["glioma_tumor/g0.png"] == 0
    assert made["near_copy"].sum() == 2
    assert grouping.groups_table(made, version=2)["version"].eq(2).all()


def test_identical_files_have_the_same_near_copies(folder, tmp_path, monkeypatch):
    """A search that finds the pair of one of two identical files has found that of the other."""
    for class_name in CLASSES:
        (tmp_path / "two/train").mkdir(parents=True, exist_ok=True)
        (folder / class_name).rename(tmp_path / "two/train" / class_name)
    for name in ("x", "y"):
        save(tmp_path / f"two/a_test/no_tumor/{name}.png", "no_tumor", 17)

    def search(where, table, thumbnails):
        rows = {path: row for row, path in enumerate(table["path"])}
        pair = {"first": [rows["a_test/no_tumor/x.png"]], "second": [rows["train/no_tumor/n0.png"]], "correlation": [0.98]}
        return pd.concat([grouping.whole_image_pairs(where, table, thumbnails), pd.DataFrame(pair)])

    monkeypatch.setitem(grouping.PAIRS_OF, 9, search)
    near_copy = grouping.build_manifest(tmp_path / "two", version=9).set_index("path")["near_copy"]
    assert near_copy["a_test/no_tumor/x.png"] == near_copy["a_test/no_tumor/y.png"] == 1
    assert near_copy.sum() == 2  # the image of the training split has no other near-copy there


def test_groups_do_not_depend_on_the_order_of_pairs():
    paths = ["c", "a", "d", "b", "e"]
    pairs = pd.DataFrame({"first": [0, 2], "second": [3, 4]})
    patients = ["p", None, "p", None, None]
    numbers = grouping.group_numbers(paths, patients, pairs)
    assert numbers.tolist() == [1, 0, 1, 1, 1]  # b, c, d, e by c = b, c and d of p, d = e
    swapped = pairs[::-1].rename(columns={"first": "second", "second": "first"})
    assert np.array_equal(numbers, grouping.group_numbers(paths, patients, swapped))
    assert grouping.group_numbers(paths, 5 * [None], pairs[:0]).tolist() == [2, 0, 3, 1, 4]


def test_identical_images_have_the_first_of_them_as_neighbour(tmp_path):
    for name in "abcd":
        save(tmp_path / f"glioma_tumor/{name}.png", "glioma_tumor", 1)
    save(tmp_path / "no_tumor/z.png", "no_tumor", 1)
    made = grouping.build_manifest(tmp_path).set_index("path")
    assert made["nearest_training"].iloc[:4].tolist() == [f"glioma_tumor/{name}.png" for name in "baaa"]
    assert made["nearest_training_corr"].iloc[:4].tolist() == [1, 1, 1, 1]


def test_deep_and_single_images(tmp_path):
    (tmp_path / "one").mkdir()
    Image.fromarray(phantoms.draw("no_tumor").astype(np.uint16) * 257).save(tmp_path / "one/deep.png")
    single = grouping.build_manifest(tmp_path)
    assert single["nearest_training"].isna().all() and single["nearest_training_corr"].isna().all()
    save(tmp_path / "one/flat.png", "no_tumor", 0)
    assert grouping.build_manifest(tmp_path)["group"].nunique() == 1  # 16 bits are not clipped to white


@pytest.mark.parametrize(("kept", "folds", "sentence"), [(3, 3, "3 groups only"), (1, 0, "1 group only")])
def test_few_groups_give_fewer_folds_and_say_so(folder, tmp_path, capsys, kept, folds, sentence):
    for path in sorted((folder / "no_tumor").iterdir())[kept:]:
        path.unlink()
    assert cli.main(["manifest", str(folder), "--output", str(tmp_path / "out")]) == 0
    fold = pd.read_csv(tmp_path / "out/groups.csv")["fold"]
    assert sorted(set(fold)) == (list(range(folds)) or [-1])
    said = capsys.readouterr().out
    assert f"{folds} folds (fewer than 5, as the class no_tumor has {sentence})" in said


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("path,patient\nabsent.png,A\n", "no image fits the line 'absent.png'"),
        ("path,patient\n*/g0.png,A\n*/g*.png,B\n", "glioma_tumor/g0.png has two patients: A by '*/g0.png', B by '*/g*.png'"),
        ("path,patient\nglioma_tumor/g0.png,A\nglioma_tumor/g0.png,B\n", "has two patients"),
        ("path;patient\na;A\n", "needs the columns path and patient"),
        ("", "cannot be read as a CSV file"),
    ],
)
def test_a_bad_table_of_patients_is_refused(folder, tmp_path, capsys, lines, reason):
    (tmp_path / "patients.csv").write_text(lines)
    words = ["manifest", str(folder), "--patients", str(tmp_path / "patients.csv"), "--output", str(tmp_path / "out")]
    assert cli.main(words) == 1
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_whole_path_goes_before_patterns():
    paths = ["a/1.png", "a/2.png", "a/[1].png"]
    patients = pd.DataFrame({"path": ["a/*.png", "a/[1].png"], "patient": ["007", "B"]})
    assert grouping.patients_of(paths, patients).tolist() == ["007", "007", "B"]


def test_bad_folders_are_refused_in_one_sentence(folder, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(near_copies.AuditError, match="holds no image in a class folder"):
        grouping.build_manifest(tmp_path / "nothing")
    with pytest.raises(near_copies.AuditError, match="there is no version 9"):
        grouping.build_manifest(folder, version=9)
    (folder / "no_tumor/n0.png").write_bytes(b"not an image")
    with pytest.raises(near_copies.AuditError, match="no_tumor/n0.png cannot be read"):
        grouping.build_manifest(folder)


def test_the_command_writes_whole_tables(folder, tmp_path, capsys, monkeypatch):
    output = tmp_path / "out"
    assert cli.main(["manifest", str(folder), "--output", str(output)]) == 0
    assert "12 images, 12 groups, 5 folds\n" in capsys.readouterr().out
    assert sorted(path.name for path in output.iterdir()) == ["groups.csv", "manifest.csv"]
    made = grouping.build_manifest(folder)
    assert grouping.differences(made, pd.read_csv(output / "manifest.csv", keep_default_na=False)) == []
    before = (output / "manifest.csv").read_bytes()

    def full(*arguments, **settings):
        raise OSError(28, "No space left on device", "groups.csv")

    monkeypatch.setattr(grouping, "groups_table", full)
    (folder / "no_tumor/n0.png").unlink()
    assert cli.main(["manifest", str(folder), "--output", str(output)]) == 1
    assert (output / "manifest.csv").read_bytes() == before  # not half of the two
    assert sorted(path.name for path in output.iterdir()) == ["groups.csv", "manifest.csv"]


@pytest.mark.needs_dataset
def test_the_command_checks_the_committed_tables(made, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(grouping, "build_manifest", lambda *arguments: made)
    assert cli.main(["manifest", "--check"]) == 0
    copied(tmp_path, monkeypatch, "manifest.csv", cell("near_copy", 5, "1"))
    assert cli.main(["manifest", "--check"]) == 1
    said = capsys.readouterr()
    assert f"manifest.csv: {made['path'][4]}: near_copy is '1', expected '0'" in said.out
    assert "1 difference, the first is" in said.err
    assert cli.main(["manifest", "--check", "--output", str(tmp_path)]) == 1
