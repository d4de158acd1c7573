"""One registration each: a toy dataset of five classes, a protocol, a recipe and a network go everywhere the project's own go.

Nothing else in the package knows them: what would drop a fifth class, a new protocol or a third network fails here.
"""

import re
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumor_mri import figures, stats
from tumor_mri.datasets import manifests, phantoms, protocols
from tumor_mri.evaluation import benchmark, calibration, comparisons, corruptions, ensembles, scoring
from tumor_mri.models import networks, recipes
from tumor_mri.runs import configs, records, training
from tumor_mri.study import gap, inspection

SIDE = 32  # pixels
CLASSES = ("benign", "cyst", "healthy", "metastasis", "scar")
IMAGES_OF_A_CLASS = 12


def toy_dataset(manifest):
    return manifests.Dataset(
        "toy-heads",
        CLASSES,
        labels=("benign tumour", "cyst", "healthy", "metastasis", "scar"),
        spanish=("tumor benigno", "quiste", "sano", "metástasis", "cicatriz"),
        colours=("#111111", "#333333", "#555555", "#777777", "#999999"),
        negative="healthy",
        manifest=manifest,
    )


def halves(manifest, fold):
    """Even rows of Training validate in fold 0, odd ones in fold 1."""
    rows = np.flatnonzero(~manifests.is_testing(manifest))
    return protocols.Split(rows[rows % 2 != fold], rows[rows % 2 == fold])


PROTOCOL = protocols.Protocol("halves", "By halves", "halves", "#AA3377", folds=2, divide=halves, benchmark=True)


def thumbnails(manifest, without):
    return np.stack([_shrink(phantoms.draw(name, row, "healthy")) for row, name in enumerate(manifest["class"])])


def _shrink(scan):
    return scan[: 4 * SIDE : 4, : 4 * SIDE : 4]


def sgd(config, steps):
    from tumor_mri._keras import keras

    return keras.optimizers.SGD(config.learning_rate)


def cross_entropy(config):
    return "categorical_crossentropy"


RECIPE = recipes.Recipe(
    "plain",
    "shrunk scans",
    load=thumbnails,
    view=lambda scan, without: _shrink(scan),
    channels=1,
    optimizer=sgd,
    loss=cross_entropy,
    families=("geometry",),
    ablations=("geometry",),
    mirrored=True,
    epochs=2,
    patience=None,
    learning_rate=0.01,
)


def build(config, shape, classes):
    from tumor_mri._keras import keras

    layers = [keras.Input(shape), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    layers += [] if config.without == "hidden" else [keras.layers.Dense(4, activation="relu")]
    return keras.Sequential([*layers, keras.layers.Dense(classes, activation="softmax", dtype="float32")])


NETWORK = networks.Network("toy", build, recipe="plain", settings={"batch_size": 8}, ablations=("hidden",))


def drawn_manifest():
    """60 phantoms of five classes, a fifth of them in Testing, each in a group with one other."""
    rows = []
    for name in CLASSES:
        for number in range(IMAGES_OF_A_CLASS):
            split = "Testing" if number >= IMAGES_OF_A_CLASS * 4 // 5 else "Training"
            rows.append({"path": f"{split}/{name}/{number}.png", "split": split, "class": name, "number": number})
    table = pd.DataFrame(rows).sort_values(["split", "class", "number"], ascending=[False, True, True], ignore_index=True)
    table = table.assign(sha256=[f"{row:064x}" for row in range(len(table))], bytes=1, width=150, height=150)
    table = table.assign(cheng_slice=pd.NA, patient=pd.NA, cheng_label=pd.NA, near_copy=0, nearest_training=table["path"][0])
    groups = table["class"] + table["split"].str[0] + (table["number"] // 2).astype(str)
    return table.drop(columns="number").assign(nearest_training_corr=0.5, group=groups)


@dataclass(frozen=True)
class Toy:
    """What the tests share: the manifest of the toy dataset and runs of three networks, one of them really trained."""

    manifest: pd.DataFrame
    trained: list
    runs: list


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    drawn_manifest().to_csv(folder / "manifest.csv", index=False)
    registries = (manifests.DATASETS, protocols.PROTOCOLS, recipes.RECIPES, networks.NETWORKS)
    before = [dict(registry) for registry in registries]
    dataset = manifests.register(toy_dataset(folder / "manifest.csv"))
    protocols.register(PROTOCOL), recipes.register(RECIPE), networks.register(NETWORK)
    manifest = manifests.load_manifest(dataset)
    trained = [_recorded(fold, manifest, folder / "runs") for fold in range(PROTOCOL.folds)]
    yield Toy(manifest, trained, [run for number in range(3) for run in _variants(trained, number)])
    for registry, kept in zip(registries, before, strict=True):
        registry.clear()
        registry.update(kept)


def _recorded(fold, manifest, folder):
    """A run that was trained, recorded and read again."""
    config = configs.config_of("toy", "halves", fold=fold, dataset="toy-heads", precision="float32")
    return records.load(records.save(training.train(config, manifest=manifest, progress=False), folder))


def _variants(trained, number):
    """Runs of another network, with two seeds, whose answers are drawn at random: figures want rows, not sense."""
    found = []
    for seed in (1, 2):
        for run in trained:
            generator = np.random.default_rng([number, seed, run.config.fold])
            validation = generator.dirichlet(np.ones(len(CLASSES)), len(run.val_paths)).astype(np.float32)
            config = replace(run.config, network="toy" if number == 0 else f"toy{number}", recipe="plain", seed=seed)
            classes = np.stack([*run.val_classes[:-1], validation.argmax(axis=1)]).astype(np.uint8)
            found.append(replace(run, config=config, val_probabilities=validation, val_classes=classes))
    return found


@pytest.fixture(scope="module")
def scores(toy):
    return scoring.image_scores([_agreeing(run, toy.manifest) for run in toy.runs], toy.manifest)


def _agreeing(run, manifest):
    """The run, its history in agreement with its answers."""
    right = (run.val_classes == scoring.truth(run.val_paths, manifest)).mean(axis=1)
    return replace(run, history=run.history | {"val_accuracy": list(right)})


def words(figure):
    """All that is written in a figure: labels of rows and panels, legends, texts."""
    import matplotlib.text

    figure.canvas.draw()  # only then do axes know the labels of their ticks
    return " ".join(text.get_text().replace("\n", " ") for text in figure.findobj(matplotlib.text.Text))


def assert_shows(figure, *names):
    written = words(figure)
    plt.close(figure)
    missing = [name for name in names if name not in written]
    assert not missing, f"not drawn: {missing}"


LABELS = toy_dataset(None).labels
NETWORKS = ("toy", "toy1", "toy2")


def test_a_run_is_trained_recorded_read_and_checked(toy):
    run = toy.trained[0]
    scoring.check(run, toy.manifest)
    assert run.config.dataset == "toy-heads" and run.val_probabilities.shape == (len(run.val_paths), 5)
    assert run.val_flipped.shape == run.val_probabilities.shape  # the recipe trains on mirrored scans
    assert run.config.key == "halves-fold0-toy-seed1-dataset=toy-heads"
    assert run.label == "toy (toy-heads)"


def test_its_run_is_refused_with_the_manifest_of_another_dataset(toy, manifest):
    with pytest.raises(scoring.EvaluationError, match="of the dataset toy-heads, the manifest is of brain-tumor"):
        scoring.check(toy.trained[0], manifest)


def test_it_has_a_row_in_the_benchmark_with_a_column_for_each_of_its_classes(toy, monkeypatch):
    few = benchmark.score(toy.trained, toy.manifest)
    assert not [name for name in few.columns if name.startswith("unseen_") and name != "unseen_recall"]  # too few images of each
    assert few["unseen_recall"].isna().all()
    monkeypatch.setattr(benchmark, "UNSEEN_LEAST", 1)
    table = benchmark.score(toy.trained, toy.manifest)
    assert table[["network", "protocol"]].values.tolist() == [["toy (toy-heads)", "halves"]]
    assert {"unseen_benign_tumour", "unseen_scar", "unseen_healthy"} <= set(table.columns)
    assert "unseen benign tumour" in benchmark.as_markdown(table)
    together = benchmark.score([ensembles.with_flips(run) for run in toy.trained], toy.manifest)
    assert together["network"].tolist() == ["toy (toy-heads), flips"]


def test_a_seed_that_lacks_a_fold_or_has_one_twice_is_refused_by_the_table(toy):
    with pytest.raises(scoring.EvaluationError, match=r"seed 1 has the folds \[0\], not \[0, 1\]"):
        benchmark.score(toy.trained[:1], toy.manifest)
    with pytest.raises(scoring.EvaluationError, match=r"seed 1 has the folds \[0, 0, 1\]"):
        benchmark.score([*toy.trained, toy.trained[0]], toy.manifest)


def test_figures_of_the_dataset_draw_all_five_classes(toy):
    sizes = toy.manifest[["path", "split", "class", "width", "height"]].assign(std=30.0)
    for figure in (
        figures.class_counts(toy.manifest),
        figures.image_sizes(toy.manifest),
        figures.scan_of_each_class(toy.manifest),
        figures.quality(sizes, toy.manifest),
        figures.confusion_heat_map(np.eye(5, dtype=int), "all right", LABELS),
    ):
        assert_shows(figure, *LABELS)


def test_figures_of_scores_draw_every_network_protocol_and_class(toy, scores):
    rows = [f"halves · {name}" for name in scores["network"].unique()]
    assert len(rows) == 3
    assert_shows(figures.honest_accuracies(scores), *rows)
    first, *others = scores["network"].unique()
    assert_shows(figures.network_differences(scores, reference=first), *others)
    assert_shows(figures.class_recalls(scores), *(f"{name} · halves" for name in LABELS))
    assert_shows(figures.flattery(scores), "halves (12 runs)")
    assert_shows(figures.reliability({"by halves": scores}), "by halves")
    assert_shows(figures.mcnemar_pairs(comparisons.mcnemar_pairs(scores)), "halves · other network, same seed")
    differences = comparisons.recall_differences(scores[scores["network"] == first], scores[scores["network"] == others[0]])
    assert_shows(figures.two_networks(differences, (first, others[0])), "all", *LABELS)


def test_figures_of_runs_draw_every_network_and_protocol(toy):
    runs = [_agreeing(run, toy.manifest) for run in toy.runs]
    labels = {run.label for run in runs}
    assert_shows(figures.learning_curves(runs, by="network"), *labels)
    assert_shows(figures.learning_curves(runs), "By halves")
    summary = scoring.summarise(runs, toy.manifest)
    assert_shows(figures.stopping_epochs(summary), *(f"halves · {name}" for name in labels))
    missed = scoring.missed_tumours(runs, toy.manifest)
    assert_shows(figures.missed_tumours(missed), *(f"halves · {name}" for name in labels))
    scored = benchmark.score(runs, toy.manifest)
    assert_shows(figures.benchmark_scores(scored), "By halves", *labels)


def test_figures_of_one_run_draw_every_class(toy):
    run = _agreeing(toy.runs[0], toy.manifest)
    pairs = scoring.confused_pairs(scoring.confusion(run, toy.manifest), LABELS)[:3]
    assert_shows(figures.confused_scans(run, toy.manifest, pairs), *pairs["truth"])
    assert_shows(figures.gallery(run, toy.manifest), *LABELS)


def test_figures_about_the_reports_two_splits_refuse_another_protocol(toy):
    runs = [_agreeing(run, toy.manifest) for run in toy.runs]
    summary = scoring.summarise(runs, toy.manifest)
    parts = gap.testing_scores(runs, toy.manifest)
    for draw in (lambda: figures.gaps(summary), lambda: figures.errors_by_part(parts), lambda: figures.accuracy_by_part(parts)):
        with pytest.raises(ValueError, match="has no place for halves"):
            draw()


def test_a_protocol_that_nobody_registered_is_refused_and_not_left_out(scores):
    strange = pd.concat([scores, scores.assign(protocol="unheard_of")])
    for draw in (figures.honest_accuracies, figures.class_recalls, figures.flattery):
        with pytest.raises(ValueError, match="unknown protocol 'unheard_of'"):
            draw(strange)


def looked_at(name, manifest):
    paths = np.array(manifest["path"][:10])
    probabilities = np.full((len(inspection.CONDITIONS), len(paths), 4), 0.25, dtype=np.float32)
    share = np.full(len(paths), 0.5)
    return inspection.Inspection(name, paths, probabilities, np.zeros((len(paths), 32, 32)), share, share)


def test_figures_of_corrupted_scans_draw_a_third_network(manifest):
    inspected = [looked_at(name, manifest) for name in NETWORKS]
    table = inspection.robustness_table(inspected, manifest)
    drawn = figures.robustness_curves(table)
    assert_shows(drawn, *NETWORKS, *corruptions.STRENGTHS)
    assert len(drawn.axes[0].lines) == 3
    assert len([row for row in figures.heat_on_dark(inspected, manifest).axes[0].get_yticklabels()]) == 3
    curve = stats.abstention(np.linspace(0.3, 0.9, 5), np.ones(5))
    assert_shows(figures.abstention(dict.fromkeys(NETWORKS, curve), {"toy2": 0.5}), *NETWORKS)
    with pytest.raises(ValueError, match="at most 6 networks"):
        figures.abstention(dict.fromkeys("abcdefg", curve), {})


def test_calibration_of_five_classes(toy, scores):
    assert len(calibration.calibration_errors(scores)) == len(toy.runs)


def test_what_is_not_registered_is_refused_by_name(manifest):
    with pytest.raises(ValueError, match="unknown network 'nameless': choose one of cnn, residual"):
        training.train(
            configs.RunConfig("grouped", widths=(), network="nameless"), np.zeros((len(manifest), 150, 150), np.uint8), manifest
        )
    for settings_, words_ in (
        ({"protocol": "by_moonlight"}, "unknown protocol 'by_moonlight': choose one of testing_folder"),
        ({"protocol": "grouped", "recipe": "stew"}, "unknown recipe 'stew': choose one of report, prepared"),
        ({"protocol": "grouped", "dataset": "atlantis"}, "unknown dataset 'atlantis': choose one of"),
        ({"protocol": "grouped", "network": "small", "widths": (), "without": "pooling"}, "ingredient called 'pooling'"),
        ({"protocol": "grouped", "without": "crop"}, "ingredient called 'crop': they have none"),
        ({"protocol": "grouped", "recipe": "prepared", "without": "pooling"}, "'pooling': they have crop, equalisation"),
    ):
        with pytest.raises(ValueError, match=re.escape(words_)):
            configs.RunConfig(**settings_)


def test_a_name_is_registered_once():
    for module, thing in (
        (networks, networks.CNN),
        (recipes, recipes.REPORT),
        (protocols, protocols.GROUPED),
        (manifests, manifests.BRAIN_TUMOUR_MRI),
    ):
        assert module.register(thing) is thing  # the same again, as when a cell runs twice
        with pytest.raises(ValueError, match="there is another"):
            module.register(replace(thing, **_other(thing)))


def test_two_recipes_cannot_have_one_label():
    with pytest.raises(ValueError, match="another recipe has the label 'whole scans'"):
        recipes.register(replace(recipes.REPORT, name="other"))
    assert "other" not in recipes.RECIPES


def _other(thing):
    different = {"Network": {"recipe": "plain"}, "Recipe": {"epochs": 7}, "Protocol": {"folds": 9}}
    return different.get(type(thing).__name__, {"kaggle": "somebody/else"})


def test_a_label_in_another_colour_than_elsewhere_is_refused():
    other = replace(
        manifests.BRAIN_TUMOUR_MRI,
        name="other",
        colours=("#000000", *manifests.BRAIN_TUMOUR_MRI.colours[1:]),
    )
    with pytest.raises(ValueError, match="'glioma' is drawn in #0072B2 elsewhere, not in #000000"):
        manifests.register(other)
    assert "other" not in manifests.DATASETS


# labels tell every two configurations apart


def test_labels_are_injective_over_all_records():
    runs = records.load_all(records.RECORDED)
    assert len(runs) > 100
    named = {(run.label, run.config.protocol, run.config.fold, run.config.seed): run.config for run in runs}
    assert len(named) == len(runs)
    assert len({run.config.key for run in runs}) == len(runs)


CHANGES = {
    "widths": st.tuples(*[st.integers(1, 64)] * 4),
    "precision": st.sampled_from(["float32", "mixed_bfloat16"]),
    "epochs": st.integers(1, 300),
    "patience": st.none() | st.integers(1, 50),
    "batch_size": st.integers(1, 512),
    "learning_rate": st.floats(1e-6, 1, allow_nan=False),
    "train_images": st.none() | st.integers(1, 3000),
    "network": st.sampled_from(["cnn", "mine"]),
    "recipe": st.sampled_from(["report", "prepared"]),
}


@settings(deadline=None, max_examples=300)
@given(st.fixed_dictionaries({}, optional=CHANGES), st.sampled_from(sorted(CHANGES)), st.data())
def test_labels_and_keys_tell_apart_what_differs_in_any_one_setting(asked, name, data):
    def config(**given_):
        if given_.get("network") == "mine":
            given_["widths"] = ()
        return configs.RunConfig("grouped", **given_)

    first, second = config(**asked), config(**asked | {name: data.draw(CHANGES[name])})
    assert (first.label == second.label) == (first.stands_for == second.stands_for)
    assert (first.key == second.key) == (first == second)


def test_a_tiny_run_is_found_where_its_notebook_looks_for_the_full_one():
    for full in (configs.RunConfig("grouped"), configs.config_of("residual", "grouped", without="shortcuts")):
        tiny = replace(full, **configs.SMOKE)
        assert tiny.label == full.label and tiny.same_network(full) and full.same_network(tiny)
        assert tiny.key != full.key  # and is never read in place of a recorded one
        assert replace(full, epochs=2).label != full.label and not replace(full, epochs=2).same_network(full)


@pytest.mark.parametrize("without", [*recipes.PREPARED.ablations, *networks.RESIDUAL.ablations])
def test_an_ablation_has_a_label_of_its_own(without):
    whole, part = (configs.config_of("residual", "grouped", without=name) for name in ("", without))
    assert part.label == f"{whole.label} without {without}" and not part.same_network(whole)
