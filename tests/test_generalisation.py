"""The figures of notebooks 8 and 9: each sentence says what the figure's data say; phantoms stand in for scans."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tumor_mri import stats
from tumor_mri.datasets import manifests, protocols
from tumor_mri.evaluation import corruptions, scoring
from tumor_mri.figures import generalisation
from tumor_mri.models import preprocessing
from tumor_mri.runs import configs, records
from tumor_mri.study import inspection

WAYS = len(corruptions.CORRUPTIONS)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def inspected(manifest):
    """Two networks that answer at random; the second is right on every other scan."""
    generator = np.random.default_rng(0)
    paths = manifest["path"].to_numpy(str)[protocols.grouped(manifest, inspection.FOLD).validation]
    truth = scoring.truth(paths, manifest)
    found = []
    for name, right in (("first", np.zeros(len(paths), dtype=bool)), ("second", np.arange(len(paths)) % 2 == 0)):
        odds = generator.dirichlet(np.ones(4), (len(inspection.CONDITIONS), len(paths)))
        odds[:, right] = 0.1 + 0.6 * np.eye(4)[truth[right]]
        heat = generator.random((len(paths), inspection.SIDE, inspection.SIDE), dtype=np.float32)
        dark = np.where(np.arange(len(paths)) < 5, np.nan, 0.3)
        found.append(inspection.Inspection(name, paths, odds, heat, dark, np.full(len(paths), 0.6)))
    return found


def images(figure):
    return [axis for axis in figure.axes if axis.get_images()]


def test_ingredients_are_drawn_for_each_class(manifest, capsys):
    figure = generalisation.ingredients(manifest)
    assert len(images(figure)) == (4 + len(preprocessing.FAMILIES)) * len(manifests.BRAIN_TUMOUR_MRI.classes)
    assert "phantoms" in capsys.readouterr().out
    assert all(max(axis.get_images()[0].get_array().shape) <= 150 for axis in images(figure))  # what may be shown


def test_every_try_is_drawn(capsys):
    table = pd.read_csv(manifests.DATA / "tries.csv")
    figure = generalisation.tries(table)
    assert len(figure.axes[0].get_yticks()) == len(table)
    said = capsys.readouterr().out
    assert all(f"{100 * value:.1f}" in said for column in ("grouped", "testing", "unseen") for value in table[column])


def test_the_last_try_is_the_recorded_run(manifest):
    """The earlier ones were made before the code was settled, and left their figures alone."""
    tried = pd.read_csv(manifests.DATA / "tries.csv").iloc[-1]
    run = records.find(configs.config_of("residual", "grouped"), [records.RECORDED])
    testing, unseen = (part["right"].mean() for part in (_on_testing(run, manifest), scoring.unseen_scores([run], manifest)))
    found = scoring.image_scores([run], manifest)["right"].mean()
    assert [round(float(value), 4) for value in (found, testing, unseen)] == list(tried[["grouped", "testing", "unseen"]])


def _on_testing(run, manifest):
    return pd.DataFrame({"right": run.test_probabilities.argmax(axis=1) == scoring.truth(run.test_paths, manifest)})


def test_what_each_class_gains_is_said(capsys):
    columns = ["class", "images", "first", "second", "difference", "low", "high"]
    rows = [("all", 10, 0.8, 0.9, 10.0, 5.0, 15.0), ("glioma", 4, 0.7, 0.6, -10.0, -20.0, 1.0)]
    generalisation.two_networks(pd.DataFrame(rows, columns=columns), ("old", "new"))
    said = capsys.readouterr().out
    assert "all 80.0 and 90.0, difference +10.0 (+5.0 to +15.0)" in said
    assert "glioma 70.0 and 60.0, difference -10.0 (-20.0 to +1.0)" in said


def test_abstention_marks_the_threshold(capsys):
    curve = stats.abstention(np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 1, 0, 1]))
    generalisation.abstention({"a": curve, "b": curve}, {"b": 0.75})
    assert "b answers 50 % of scans, 100.0 % of them correctly" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [False, True])
def test_both_networks_look_at_the_same_scans(inspected, manifest, wrong, capsys):
    figure = generalisation.looks(inspected, manifest, wrong)
    assert len(images(figure)) == 2 * 2 * len(manifests.BRAIN_TUMOUR_MRI.classes)
    above, below = (images(figure)[start : start + 8] for start in (0, 8))
    assert all("says" in axis.get_title() for axis in above + below)
    truths = [axis.get_title().split(":")[0] for axis in above]
    assert truths == [name for name in manifests.BRAIN_TUMOUR_MRI.labels for _ in range(2)]
    named = [axis.get_title().split("says ")[1].splitlines()[0] for axis in below]
    assert all((name == truth) != wrong for name, truth in zip(named, truths, strict=True))
    assert ("wrongly" if wrong else "correctly") in capsys.readouterr().out


def test_heat_on_dark_pixels_stands_beside_its_area(inspected, manifest, capsys):
    generalisation.heat_on_dark(inspected, manifest)
    said = "second 30 % of the heat (30.0 to 30.0 over groups) on 60 % of the picture (0.50 times its share)"
    assert said in capsys.readouterr().out


def test_a_scan_is_corrupted_in_every_way(manifest):
    figure = generalisation.corrupted_scans(manifest["path"][0])
    assert len(images(figure)) == 1 + 3 * WAYS


def test_robustness_says_the_points_at_the_strongest(inspected, manifest, capsys):
    table = inspection.robustness_table(inspected, manifest)
    figure = generalisation.robustness_curves(table)
    assert len(figure.axes) == WAYS
    strongest = table[(table["network"] == "second") & (table["kind"] == "blur")]["points"].iloc[-1]
    assert f"blur {strongest:+.1f}" in capsys.readouterr().out.split("second:")[1]


def test_missed_tumours_are_said(capsys):
    columns = ["protocol", "network", "tumours", "missed", "low", "high", "alarms", "alarms_low", "alarms_high"]
    table = pd.DataFrame([("grouped", "a", 100, 0.05, 0.02, 0.08, 0.1, 0.05, 0.2)], columns=columns)
    generalisation.missed_tumours(table)
    assert "grouped · a 5.0 (2.0 to 8.0)" in capsys.readouterr().out
