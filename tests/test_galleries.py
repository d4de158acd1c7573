"""The gallery: what is nearest of what trained, what may be drawn, every choice of the drop-downs, and what is stored of them."""

from dataclasses import replace

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest

from tumor_mri.audit import near_copies, scans
from tumor_mri.datasets import download, manifests, protocols
from tumor_mri.evaluation import scoring
from tumor_mri.figures import galleries, scores, style
from tumor_mri.runs import records
from tumor_mri.site import notebooks, website
from tumor_mri.study import catalogue, gap

matplotlib.use("agg")


pytestmark = pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def pair():
    return [records.load(records.path_of(config, records.RECORDED)) for config in catalogue.configs_of("gallery")]


@pytest.fixture(scope="module")
def chosen(pair):
    """The 25/50/100/100 network on split B."""
    return pair[1]


@pytest.fixture(scope="module")
def unlike(manifest):
    """Thumbnails of nothing: no two are alike."""
    pixels = np.random.default_rng(0).normal(size=(len(manifest), 64))
    return np.stack([near_copies.standardise(image) for image in pixels])


def saying(run, manifest, shift=0):
    """A run that is sure, and always right; or always wrong, with a shift."""
    labels = (scoring.truth(run.val_paths, manifest) + shift) % len(manifests.BRAIN_TUMOUR_MRI.labels)
    return replace(run, val_probabilities=np.eye(len(manifests.BRAIN_TUMOUR_MRI.labels), dtype=np.float32)[labels])


@pytest.fixture
def painted(monkeypatch):
    """Paths of the scans that a figure shows, in order."""
    paths, show_scan = [], style.show_scan
    monkeypatch.setattr(
        style, "show_scan", lambda axis, path, *rest, **more: paths.append(path) or show_scan(axis, path, *rest, **more)
    )
    return paths


def test_answers_are_the_confusion_matrix(chosen, manifest):
    said = scoring.answers(chosen, manifest)
    matrix = scoring.confusion(chosen, manifest)
    assert said.groupby(["truth", "predicted"]).size().loc["glioma", "meningioma"] == matrix[0, 1]
    assert said["right"].sum() == matrix.trace()
    assert said["confidence"].between(0.25, 1).all()


def test_the_nearest_is_one_that_trained(chosen, manifest, unlike):
    split = protocols.training_only(manifest)
    asked, other, trained = split.validation[0], split.validation[1], split.train[5]
    thumbnails = unlike.copy()
    thumbnails[other] = thumbnails[asked]  # the most alike of all, but set aside with it
    found = gap.nearest_trained(chosen, manifest, thumbnails).iloc[0]
    assert found["nearest"] in chosen.train_paths and found["correlation"] < 0.9
    thumbnails[trained] = thumbnails[asked]
    found = gap.nearest_trained(chosen, manifest, thumbnails).iloc[0]
    assert found["nearest"] == manifest["path"][trained] and found["correlation"] == pytest.approx(1)
    assert (
        manifests.BRAIN_TUMOUR_MRI.classes[manifests.BRAIN_TUMOUR_MRI.labels.index(found["nearest_class"])]
        == manifest["class"][trained]
    )
    assert found["same_group"] == (manifest["group"][trained] == manifest["group"][asked])


def test_groups_that_trained(chosen, manifest):
    assert gap.nearest_trained(chosen, manifest)["group_trained"].sum() == 504
    fold = protocols.grouped(manifest)
    paths = manifest["path"].to_numpy()
    apart = replace(chosen, train_paths=list(paths[fold.train]), val_paths=list(paths[fold.validation]))
    assert gap.nearest_trained(apart, manifest)["group_trained"].sum() == 0


def test_without_thumbnails_the_manifest_tells_what_it_knows(chosen, manifest):
    found = gap.nearest_trained(chosen, manifest)
    known = found["nearest"].notna()
    assert 0 < known.sum() < len(found)
    assert set(found["nearest"][known]) <= set(chosen.train_paths)
    assert found["correlation"].notna().equals(known) and found["nearest_class"].notna().equals(known)
    on_testing = records.load(records.RECORDED / "testing_folder-cnn-25-50-100-100-seed1.npz")
    stored = manifest.set_index("path").loc[on_testing.val_paths]
    assert gap.nearest_trained(on_testing, manifest)["nearest"].tolist() == stored["nearest_training"].tolist()


@pytest.mark.needs_dataset
def test_the_manifest_and_the_images_agree(chosen, manifest):
    rows = manifest[manifest["path"].isin([*chosen.val_paths[:40], *chosen.train_paths])].reset_index(drop=True)
    some = replace(chosen, val_paths=chosen.val_paths[:40])
    found = gap.nearest_trained(some, rows, scans.manifest_thumbnails(download.find(), rows))
    stored = gap.nearest_trained(some, rows)
    known = stored["nearest"].notna()
    assert known.sum() > 20
    assert np.abs(found["correlation"] - stored["correlation"])[known].max() < 0.001  # decoders differ: see test_this_dataset


def test_only_what_may_be_shown_is_drawn(chosen, manifest, unlike, painted, monkeypatch):
    allowed = manifests.may_be_shown(manifest)
    galleries.gallery(chosen, manifest, unlike, classes=["meningioma"], answers=[False], columns=9)
    assert painted and allowed[painted].all()
    monkeypatch.setattr(manifests, "may_be_shown", lambda manifest: allowed | True)
    galleries.gallery(chosen, manifest, unlike, classes=["meningioma"], answers=[False], columns=9)
    assert not allowed[painted].all()  # so there was something to keep back


def test_scans_are_spaced_from_the_surest_to_the_least_sure(chosen, manifest, painted):
    galleries.gallery(chosen, manifest, classes=["glioma"], answers=[False], columns=3)
    said = scoring.answers(chosen, manifest)
    wrong = (
        said[(said["truth"] == "glioma") & ~said["right"]].sort_values("confidence", ascending=False).index
    )  # all may be shown
    drawn = [path for path in painted if path in wrong]
    assert drawn == [wrong[0], wrong[round((len(wrong) - 1) / 2)], wrong[-1]]


def test_the_sentence_counts_all_answers(chosen, manifest, unlike, capsys):
    thumbnails = unlike.copy()
    split = protocols.training_only(manifest)
    copies = scoring.answers(chosen, manifest)["right"].to_numpy()
    thumbnails[split.train[: copies.sum()]] = thumbnails[split.validation[copies]]
    galleries.gallery(chosen, manifest, thumbnails, columns=1)
    said = capsys.readouterr().out
    assert f" of the {copies.sum()} correct answers and " in said and f" of the {574 - copies.sum()} wrong ones, " in said
    assert "a near-copy for 100 % and 0 %. 8 drawn as phantoms" in said
    assert "25/50/100/100 on Split B: Training only, seed 1, images of glioma, meningioma, no tumour, pituitary." in said
    assert len(said) <= 300


def test_a_network_that_is_never_right(chosen, manifest, capsys):
    figure = galleries.gallery(saying(chosen, manifest, shift=1), manifest, columns=1)
    said = capsys.readouterr().out
    assert " of the 574 wrong answers, the training set held" in said and "There are 0 correct answers." in said
    assert sum("none to show" in text.get_text() for axis in figure.axes for text in axis.texts) == 4
    assert galleries.gallery(saying(chosen, manifest, shift=1), manifest, answers=[True]) is None


def test_accuracy_by_nearest(pair, manifest, unlike, capsys):
    thumbnails = unlike.copy()
    split = protocols.training_only(manifest)
    thumbnails[split.train[:100]] = thumbnails[split.validation[:100]]
    scores.accuracy_by_nearest([saying(run, manifest) for run in pair], manifest, thumbnails)
    assert "from 100.0 % (0.80 or less, 474 images) to 100.0 % (near-copies, 100 images)" in capsys.readouterr().out
    scores.accuracy_by_nearest([saying(pair[0], manifest), saying(pair[1], manifest, shift=1)], manifest, thumbnails)
    assert "to 0.0 to 100.0 % (near-copies, 100 images)" in capsys.readouterr().out


def test_of_a_widget_only_its_text_is_stored(tmp_path):
    """A widget lives in its kernel: a bar of a notebook that trains, for example."""
    new = nbformat.v4
    code = "import ipywidgets\nfrom IPython.display import display\ndisplay(ipywidgets.IntSlider())"
    path = tmp_path / "01_widget.ipynb"
    opening = new.new_markdown_cell("# 1 · A title\nA question?", metadata={"tags": ["no-landing"]})
    nbformat.write(new.new_notebook(cells=[opening, new.new_code_cell(code)]), path)
    stored = notebooks.execute(path)
    assert [list(output["data"]) for output in stored.cells[1].outputs] == [["text/plain"]]
    assert "widgets" not in stored.metadata
    website.write({path.stem: stored}, tmp_path / "site")
    page = (tmp_path / "site" / "01_widget.html").read_text(encoding="utf-8")
    assert "<script src" not in page and "widget-state" not in page


def test_pictures_stand_in_a_row_under_their_names(capsys):
    figure = galleries.pictures_in_a_row({"black": np.zeros((8, 8)), "half": np.tile([0.0, 200.0], (8, 4))})
    assert [axis.get_title() for axis in figure.axes] == ["black", "half"]
    assert "black 0 ± 0; half 100 ± 100" in capsys.readouterr().out
