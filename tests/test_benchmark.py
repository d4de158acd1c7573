"""The benchmark: cross-fitting, unseen Testing, baselines, and a network of one's own."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tumor_mri.audit import grouping
from tumor_mri.datasets import decoding, manifests, protocols
from tumor_mri.evaluation import benchmark, scoring
from tumor_mri.models import preprocessing
from tumor_mri.runs import configs, environment, records, training
from tumor_mri.site import documents


@pytest.fixture(scope="module")
def recorded():
    return benchmark.recorded()


def test_the_committed_groups_are_the_protocols(manifest):
    committed = pd.read_csv(benchmark.GROUPS).drop(columns="version", errors="ignore")
    pd.testing.assert_frame_equal(committed, grouping.groups_table(manifest).drop(columns="version"))
    near = manifest[(manifest["nearest_training_corr"] > 0.99) & (manifest["split"] == "Training")]
    assert (committed[committed["fold"] >= 0].groupby("group")["fold"].nunique() == 1).all()
    moved = committed.assign(fold=committed["fold"].mask(committed.index == committed.index[committed.duplicated("group")][0], 9))
    assert (moved[moved["fold"] >= 0].groupby("group")["fold"].nunique() > 1).sum() == 1  # one image of a group elsewhere is seen
    fold = committed.set_index("path")["fold"]
    assert (fold.loc[near["path"]].to_numpy() == fold.loc[near["nearest_training"]].to_numpy()).all()


def test_unseen_testing_is_what_it_says(manifest):
    rows = protocols.unseen_testing(manifest)
    unseen, training_part = manifest.iloc[rows], manifest[manifest["split"] == "Training"]
    assert unseen["class"].value_counts().to_dict() == {"glioma_tumor": 77, "pituitary_tumor": 39, "meningioma_tumor": 2}
    assert set(unseen["split"]) == {"Testing"}
    assert not set(unseen["group"]) & set(training_part["group"])
    assert not set(unseen["patient"].dropna()) & set(training_part["patient"].dropna())
    assert not unseen["near_copy"].any()


def test_no_image_helps_to_choose_its_own_epoch(recorded, manifest):
    """An image that is right in one epoch only, whatever the epoch, must not pull that epoch towards itself."""
    run = next(run for run in recorded if run.config.protocol == "training_only")
    actual = scoring.truth(run.val_paths, manifest)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 4, (60, len(actual)), dtype=np.uint8)  # sixty epochs of guessing
    accuracy = (noise == actual).mean(axis=1)
    guessed = replace(run, val_classes=noise, history={"val_accuracy": list(accuracy)})
    honest = (scoring.cross_fitted_classes(guessed, manifest) == actual).mean()
    assert accuracy.max() > 0.28  # what quoting the best of sixty guesses gives
    assert abs(honest - 0.25) < 0.02


def test_scores_at_the_best_epoch_are_those_of_the_table_of_runs(recorded, manifest):
    recorded = [run for run in recorded if run.config.patience]  # the others chose no epoch
    scores = benchmark.score(recorded, manifest).set_index(["network", "protocol"])
    summary = scoring.summarise(recorded, manifest).groupby(["network", "protocol"])["val_accuracy"].mean()
    for key, row in scores.iterrows():
        if key[1] != "grouped":  # whose folds differ a little in size
            assert row["at_best_epoch"] == pytest.approx(summary[key])
        assert row["low"] < row["accuracy"] < row["high"]
        assert np.isnan(row["seeds_low"]) == (row["seeds"] < 3)
        by_seed = [run for run in recorded if (run.label, run.config.protocol) == key]
        middle = scoring.image_scores(by_seed, manifest).groupby("seed")["right"].mean().mean()
        assert row["seeds"] < 3 or (row["seeds_low"] + row["seeds_high"]) / 2 == pytest.approx(middle)
    assert (scores["seeds"] >= 3).any() and (scores["seeds"] < 3).any()
    assert (scores["accuracy"] <= scores["at_best_epoch"] + 0.002).all()
    assert scores.loc[(slice(None), "testing_folder"), "unseen_recall"].isna().all()


def test_the_page_holds_the_table(manifest):
    text = documents.PAGE.read_text(encoding="utf-8")
    assert benchmark.as_markdown(benchmark.table(manifest)) in text, "run `make benchmark`"


def test_what_is_no_part_of_the_benchmark_stays_out_of_its_table(recorded, manifest, monkeypatch):
    run = next(run for run in recorded if run.config.protocol == "training_only")
    others = [{"protocol": "foreign_added"}, {"precision": "mixed_bfloat16"}, {"train_images": 64}]
    others += [{"recipe": "prepared", "without": "crop"}]
    runs = [replace(run, config=replace(run.config, **other)) for other in others]
    monkeypatch.setattr(records, "load_all", lambda folder: [run, *runs])
    assert benchmark.recorded() == [run]
    baselines = pd.read_csv(benchmark.BASELINES)["network"].tolist()
    assert benchmark.table(manifest)["network"].tolist() == [*baselines, run.label]


def as_if(run, manifest, protocol, seed, fold, odds, mirrored):
    """A recorded run of the residual network, as if it were one of another protocol, seed and fold that gave these odds."""
    split, paths = protocols.split(manifest, protocol, fold), manifest["path"].to_numpy()
    classes = odds.argmax(axis=1).astype(np.uint8)
    return replace(
        run,
        config=replace(run.config, protocol=protocol, seed=seed, fold=fold),
        history={"val_accuracy": [float((classes == manifests.class_indices(manifest)[split.validation]).mean())]},
        train_paths=list(paths[split.train]),
        val_paths=list(paths[split.validation]),
        val_classes=classes[None],
        val_probabilities=odds,
        val_flipped=mirrored,
        train_classes=np.zeros(len(split.train), dtype=np.uint8),
    )


@pytest.fixture(scope="module")
def residual():
    return records.load(records.path_of(configs.config_of("residual", "grouped"), records.RECORDED))


@pytest.fixture(scope="module")
def guessing(residual, manifest):
    """Two seeds on all grouped folds, which guess."""
    noise = np.random.default_rng(0)
    found = []
    for seed, fold in itertools.product((1, 2), range(protocols.GROUPED.folds)):
        images = len(protocols.split(manifest, "grouped", fold).validation)
        found.append(as_if(residual, manifest, "grouped", seed, fold, *noise.dirichlet(np.ones(4), (2, images))))
    return found


def test_the_residual_network_also_answers_with_mirrored_scans_and_with_its_seeds(guessing, manifest):
    combined = benchmark.combined(guessing)
    found = benchmark.score(combined, manifest).set_index("network")
    assert list(found.index) == ["residual, flips", "residual, 2 seeds together", "residual, flips, 2 seeds together"]
    assert list(found["seeds"]) == [2, 1, 1] and found["seeds_low"].isna().all()
    mean = sum(run.val_probabilities + run.val_flipped for run in guessing if run.config.fold == 3) / 4
    answer = next(run for run in combined if run.label.endswith("flips, 2 seeds together") and run.config.fold == 3)
    assert np.allclose(answer.val_probabilities, mean)
    lacking = [run for run in guessing if (run.config.seed, run.config.fold) != (2, 4)]
    assert not any("together" in run.label for run in benchmark.combined(lacking))  # a seed lacks a fold


def test_a_network_of_fixed_epochs_is_not_flattered_and_may_be_scored_on_unseen_testing(residual, guessing, manifest):
    row = benchmark.score(guessing, manifest).iloc[0]
    assert np.isnan(row["at_best_epoch"]) and 0 < row["unseen_recall"] < 1
    run = as_if(residual, manifest, "testing_folder", 1, 0, residual.test_probabilities, residual.test_flipped)
    assert benchmark.score([run], manifest)["unseen_recall"].notna().all()
    assert len(scoring.unseen_scores([run], manifest)) == 118
    chosen = replace(run, config=replace(run.config, patience=10))
    assert benchmark.score([chosen], manifest)["unseen_recall"].isna().all()


def test_others_figures_stand_with_their_addresses(manifest):
    public = pd.read_csv(benchmark.PUBLIC)
    assert public.notna().all(axis=None) and public["work"].str.startswith("https://").all()
    text = documents.PAGE.read_text(encoding="utf-8")
    assert all(address in text for address in public["work"])


# images of the smallest set, or class, behind a figure of one fold
BEHIND = {"accuracy": 394, "low": 394, "high": 394, "balanced": 4 * 74, "unseen_recall": 2 * 39}
BEHIND |= {"unseen_glioma": 77, "unseen_pituitary": 39}


def no_regression(thumbnails, labels, train, asked):
    return np.tile([1.0, 0, 0, 0], (len(asked), 1))


@pytest.fixture(scope="module")
def both_kinds(manifest):
    """All images as they are, and prepared."""
    return decoding.load_images(manifest), preprocessing.load_prepared(manifest, progress=False)


def committed(network):
    """Whether a row of the committed baselines is of a method, whatever the scans."""
    table = pd.read_csv(benchmark.BASELINES)
    return table[table["network"].str.startswith(network)].reset_index(drop=True)


def assert_same_baselines(expected, found):
    """To two images: where two neighbours are equally alike, the last bits of a processor's sums decide."""
    found = found.reset_index(drop=True)
    about = ["network", "protocol", "seeds", "seeds_low", "seeds_high"]
    pd.testing.assert_frame_equal(expected[about], found[about])
    folds = found["protocol"].map(lambda protocol: protocols.get(protocol).folds)
    tolerance = {"mcc": 0.01, "auroc": 0.01, "brier": 0.02, "log_loss": 0.1}
    for column, wide in tolerance.items():
        assert ((expected[column] - found[column]).abs() <= wide).all(), column
    for column, images in BEHIND.items():
        images = images * folds if column.startswith("unseen") else images
        assert ((expected[column] - found[column]).abs() <= 2.01 / images).all(), column


@pytest.mark.needs_dataset
def test_the_committed_neighbours_are_found_again(manifest, both_kinds, monkeypatch):
    monkeypatch.setattr(benchmark, "_linear_class", no_regression)
    found = benchmark.baselines(*both_kinds, manifest)
    assert set(found["network"]) == set(pd.read_csv(benchmark.BASELINES)["network"]) and len(found) == 6 * len(
        protocols.in_benchmark()
    )
    neighbours = found[found["network"].str.startswith("1-nearest")]
    assert_same_baselines(committed("1-nearest"), neighbours)
    with pytest.raises(AssertionError):  # a wrong table would be seen
        assert_same_baselines(committed("logistic"), found[found["network"].str.startswith("logistic")])


@pytest.mark.slow
@pytest.mark.needs_dataset
def test_the_committed_regressions_are_fitted_again(manifest, both_kinds, monkeypatch):
    """Under one protocol: seven fits of each kind take minutes, and differ in nothing but their rows."""
    monkeypatch.setattr(protocols, "in_benchmark", lambda: [protocols.TRAINING_ONLY])
    monkeypatch.setattr(benchmark, "_nearest_class", no_regression)
    found = benchmark.baselines(*both_kinds, manifest)
    expected = committed("logistic")
    expected = expected[expected["protocol"] == "training_only"].reset_index(drop=True)
    assert len(expected) == 2
    assert_same_baselines(expected, found[found["network"].str.startswith("logistic")])


def test_a_network_of_ones_own_is_scored_and_kept(manifest, tmp_path):
    from tumor_mri._keras import keras

    def build(units=2):
        pooled = [keras.Input((150, 150, 1)), keras.layers.AveragePooling2D(30), keras.layers.Flatten()]
        return keras.Sequential([*pooled, keras.layers.Dense(units), keras.layers.Dense(4, "softmax", dtype="float32")])

    noise = np.random.default_rng(0).integers(0, 256, (len(manifest), 150, 150), dtype=np.uint8)
    asked = {"which": ("training_only",), "epochs": 2, "images": noise, "folder": tmp_path}
    first = benchmark.evaluate(build, "mine", **asked)
    assert first["network"].str.match("mine,.* 2 epochs").all()  # it says what is unusual
    assert 0.1 < first["accuracy"][0] < 0.5  # noise can only be guessed
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    pd.testing.assert_frame_equal(benchmark.evaluate(build, "mine", **asked), first)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept  # read, not trained again
    with pytest.raises(ValueError, match="another network of the name 'mine'"):
        benchmark.evaluate(lambda: build(3), "mine", **asked)
    beside = benchmark.table(manifest, first.assign(network="32/64/128/128"))
    assert (beside["network"] == "32/64/128/128").sum() == 1  # in the place of the recorded ones
    pd.testing.assert_frame_equal(beside.tail(1).reset_index(drop=True), first.assign(network="32/64/128/128"))


def test_committed_runs_are_read_on_every_machine(manifest, tmp_path, monkeypatch):
    """And the other runs are trained in the precision of the machine: emulated, bfloat16 is slow."""
    asked = []

    def train(config, *arguments, **settings):
        asked.append(config)
        raise InterruptedError

    monkeypatch.setattr(environment, "native_precision", lambda: "mixed_bfloat16")
    monkeypatch.setattr(records, "RECORDED", tmp_path)
    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(training, "build_alone", lambda *arguments, **settings: object())
    monkeypatch.setattr(benchmark, "score", lambda runs, manifest: runs)
    with pytest.raises(InterruptedError):
        benchmark.evaluate(None, "mine", which=("training_only",), folder=tmp_path / "own")
    assert asked[0].precision == "mixed_bfloat16"
    path = records.path_of(replace(asked[0], precision="float32"), tmp_path)
    path.touch()
    with pytest.raises(records.RecordError, match=path.name):  # it is empty, but it is what is read
        benchmark.evaluate(None, "mine", which=("training_only",), folder=tmp_path / "own")
    with pytest.raises(InterruptedError):
        benchmark.evaluate(None, "mine", which=("training_only",), folder=tmp_path / "own", retrain=True)
    with pytest.raises(ValueError, match="retrain is True or False, not 'one'"):
        benchmark.evaluate(None, "mine", folder=tmp_path / "own", retrain="one")


def test_a_builder_that_hands_out_one_model_is_refused(manifest):
    """Its second run would go on where the first ended, on images that now validate."""
    from tumor_mri._keras import keras

    model = keras.Sequential([keras.Input((150, 150, 1)), keras.layers.Flatten(), keras.layers.Dense(4, "softmax")])
    with pytest.raises(ValueError, match="the same model twice"):
        benchmark.evaluate(lambda: model, "mine", which=("training_only",), images=np.zeros((1, 150, 150), np.uint8))


@pytest.mark.parametrize("asked", [{"seeds": 3}, {"seeds": "12"}, {"seeds": ()}, {"which": "grouped"}])
def test_one_seed_or_protocol_alone_is_no_list(asked):
    with pytest.raises(ValueError, match="must be a list with at least one entry"):
        benchmark.evaluate(None, "mine", **asked)


def test_the_name_of_a_network_of_the_project_is_taken():
    with pytest.raises(ValueError, match="'cnn' is a network of this project"):
        benchmark.evaluate(None, "cnn")


def test_a_name_must_make_a_file():
    with pytest.raises(ValueError, match="letters, digits"):
        benchmark.evaluate(None, "../mine")


def test_a_network_of_other_shapes_is_named(manifest):
    from tumor_mri._keras import keras

    def build():
        return keras.Sequential([keras.Input((64, 64, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])

    config = configs.RunConfig("training_only", widths=(), network="mine", epochs=1)
    with pytest.raises(ValueError, match=r"expected \(None, 150, 150, 1 or 3\)"):
        training.train(config, np.zeros((len(manifest), 150, 150), np.uint8), manifest, progress=False, build=build)
