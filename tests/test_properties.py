"""Properties that must hold for any dataset, any damage and any predictions, not only for this project's (hypothesis)."""

import io
from dataclasses import fields, replace
from functools import cache

import numpy as np
import pandas as pd
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics

from tumor_mri import stats
from tumor_mri.datasets import manifests, protocols
from tumor_mri.evaluation import scoring
from tumor_mri.runs import configs, records

QUICK = settings(max_examples=30, deadline=None, derandomize=True)  # the same examples each time: a failure is no accident
FEW = settings(QUICK, max_examples=12)
THOROUGH = settings(QUICK, max_examples=200)


@st.composite
def any_manifest(draw):
    """Groups of 1 to 6 images of one class, of any order, and some of them in Testing: enough for five folds of each class."""
    sizes = {name: draw(st.lists(st.integers(1, 6), min_size=10, max_size=20)) for name in manifests.BRAIN_TUMOUR_MRI.classes}
    rows = [
        (class_name, f"{class_name}-{number}", "Testing" if number % 5 == 4 else "Training")
        for class_name, groups in sizes.items()
        for number, size in enumerate(groups)
        for _ in range(size)
    ]
    table = pd.DataFrame(rows, columns=["class", "group", "split"])
    order = np.random.default_rng(draw(st.integers(0, 2**32))).permutation(len(table))
    return table.iloc[order].reset_index(drop=True).assign(path=[f"{place}.jpg" for place in range(len(table))])


def rows_of(manifest, split):
    return list(np.flatnonzero(manifest["split"] == split))


@QUICK
@given(any_manifest(), st.sampled_from([("testing_folder", 0), ("training_only", 0), *(("grouped", fold) for fold in range(5))]))
def test_every_protocol_divides_its_images_in_two(manifest, asked):
    split = protocols.split(manifest, *asked)
    wanted = range(len(manifest)) if asked[0] == "testing_folder" else rows_of(manifest, "Training")
    assert sorted([*split.train, *split.validation]) == list(wanted)
    assert len(split.train) and len(split.validation)
    again = protocols.split(manifest.copy(), *asked)
    assert np.array_equal(split.train, again.train) and np.array_equal(split.validation, again.validation)


@FEW
@given(any_manifest())
def test_grouped_folds_leak_no_group_and_are_stratified(manifest):
    folds = [protocols.split(manifest, "grouped", fold) for fold in range(protocols.GROUPED_FOLDS)]
    assert sorted(np.concatenate([fold.validation for fold in folds])) == rows_of(manifest, "Training")
    counts = manifest[manifest["split"] == "Training"]["class"].value_counts()
    for fold in folds:
        groups = [set(manifest["group"].iloc[rows]) for rows in (fold.train, fold.validation)]
        assert not groups[0] & groups[1]
        here = manifest["class"].iloc[fold.validation].value_counts().reindex(counts.index, fill_value=0)
        # a fold misses a fifth of a class by two of the largest groups at most: whole groups are dealt, the largest first
        assert (here - counts / protocols.GROUPED_FOLDS).abs().max() <= 12


@st.composite
def runs(draw):
    """A run of any shape, with any history and names of images, as far as a record can hold them."""
    protocol = draw(st.sampled_from(sorted(protocols.PROTOCOLS)))
    config = configs.RunConfig(
        protocol,
        widths=draw(st.tuples(*[st.integers(1, 500)] * 4)),
        seed=draw(st.integers(0, 2**31)),
        fold=draw(st.integers(0, 4)) if protocol == "grouped" else 0,
        precision=draw(st.sampled_from(["mixed_bfloat16", "float32"])),
        epochs=draw(st.integers(1, 99)),
        learning_rate=draw(st.floats(1e-9, 1)),
    )
    epochs, images = draw(st.integers(1, 5)), draw(st.integers(1, 9))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    name = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=12)
    return configs.Run(
        config=config,
        history={
            name: draw(st.lists(st.floats(0, 1), min_size=epochs, max_size=epochs)) for name in ("accuracy", "val_accuracy")
        },
        train_paths=draw(st.lists(name, min_size=images, max_size=images)),
        val_paths=draw(st.lists(name, min_size=images, max_size=images)),
        test_paths=draw(st.lists(name, min_size=images, max_size=images)),
        val_classes=random.integers(0, 4, (epochs, images), dtype=np.uint8),
        val_probabilities=random.random((images, 4), dtype=np.float32),
        test_probabilities=random.random((images, 4), dtype=np.float32),
        train_classes=random.integers(0, 4, images, dtype=np.uint8),
        environment={"backend": draw(name), "dataset": draw(name), "threads": None},
        seconds=draw(st.floats(0, 1e9)),
    )


def same(one, other):
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(configs.Run)]
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)


@QUICK
@given(runs())
def test_a_record_gives_back_its_run(run):
    assert same(run, records.decode(records.encode(run), "memory"))


@cache
def example():
    """A small run and its record."""
    config = configs.RunConfig("training_only", widths=(4, 4, 4, 4))
    nothing, classes = np.full((3, 4), 0.25, dtype=np.float32), np.arange(6, dtype=np.uint8).reshape(2, 3) % 4
    paths = ["a.jpg", "b.jpg", "c.jpg"]
    history = {"accuracy": [0.5, 0.5], "val_accuracy": [0.5, 0.25]}
    environment = {"backend": "none", "dataset": "none"}
    run = configs.Run(config, history, paths, paths, paths, classes, nothing, nothing, classes[0], environment, 1.0)
    return run, records.encode(run)


def harmless_or_found(content):
    """Damaged bytes give the same run, where they carry no content, or are refused; never another run, or another error."""
    try:
        return same(example()[0], records.decode(content, "memory"))
    except records.RecordError:
        return True


@THOROUGH
@given(st.data())
def test_flipped_bits_are_found_or_harmless(data):
    content = bytearray(example()[1])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    assert harmless_or_found(bytes(content))


@THOROUGH
@given(st.data())
def test_lost_repeated_and_foreign_bytes_are_found_or_harmless(data):
    content = example()[1]
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    assert harmless_or_found(content[:start] + data.draw(st.binary(max_size=9)) + content[end:])
    assert harmless_or_found(content[:end] + content[start:])


def test_every_truncation_is_found():
    content = example()[1]
    for length in range(0, len(content), 7):
        try:
            records.decode(content[:length], "memory")
        except records.RecordError:
            continue
        raise AssertionError(f"{length} of {len(content)} bytes were read as a record")


@THOROUGH
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_no_record(noise, packed):
    if packed:
        buffer = io.BytesIO()
        np.savez(buffer, about=np.frombuffer(noise, dtype=np.uint8))
        noise = buffer.getvalue()
    try:
        records.decode(noise, "memory")
    except records.RecordError as error:
        assert "\n" not in str(error)
    else:
        raise AssertionError("noise was read as a record")


PREDICTIONS = st.lists(st.tuples(*[st.integers(0, 3)] * 2), min_size=1, max_size=60)


def probabilities(predicted):
    return np.eye(4, dtype=np.float32)[list(predicted)]


def run_and_manifest(pairs):
    """A run whose validation images have these true and predicted classes, and their manifest in another order."""
    truth, predicted = zip(*pairs, strict=True)
    paths = [f"{number}.jpg" for number in range(len(pairs))]
    manifest = pd.DataFrame({"path": paths, "class": [manifests.BRAIN_TUMOUR_MRI.classes[index] for index in truth]})
    run = replace(example()[0], val_paths=paths, val_probabilities=probabilities(predicted))
    return run, manifest.sample(frac=1, random_state=len(pairs)).reset_index(drop=True)


@QUICK
@given(PREDICTIONS)
def test_confusion_and_its_table_are_scikit_learns(pairs):
    run, manifest = run_and_manifest(pairs)
    truth, predicted = zip(*pairs, strict=True)
    matrix = scoring.confusion(run, manifest)
    assert matrix.sum() == len(pairs)
    assert np.array_equal(matrix, metrics.confusion_matrix(truth, predicted, labels=range(4)))
    table = scoring.classification_table(matrix)
    theirs = metrics.precision_recall_fscore_support(truth, predicted, labels=range(4), zero_division=0)
    ours = table.loc[list(manifests.BRAIN_TUMOUR_MRI.labels), ["precision", "recall", "f1-score", "support"]].to_numpy()
    assert np.allclose(ours.T, theirs)
    assert np.isclose(matrix.trace() / matrix.sum(), metrics.accuracy_score(truth, predicted))


@QUICK
@given(PREDICTIONS)
def test_confused_pairs_are_all_errors_the_most_frequent_first(pairs):
    matrix = scoring.confusion(*run_and_manifest(pairs))
    table = scoring.confused_pairs(matrix)
    assert table["count"].sum() == matrix.sum() - matrix.trace()
    assert table["count"].is_monotonic_decreasing
    assert (table["share"] <= 1).all()


@QUICK
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_an_interval_holds_the_mean_and_follows_shift_and_scale(values):
    mean, half = stats.interval(values)
    assume(half > 1e-3)
    moved, moved_half = stats.interval(2 * np.array(values) + 3)
    assert min(values) <= mean + 1e-6 and mean - 1e-6 <= max(values)
    assert np.isclose(moved, 2 * mean + 3, atol=1e-6) and np.isclose(moved_half, 2 * half)
