"""The control with labels that mean nothing."""

import numpy as np
import pandas as pd

from tools import random_labels
from tumor_mri.datasets import protocols


def test_a_group_keeps_one_label_and_classes_keep_their_groups(manifest):
    drawn = random_labels.random_labels(manifest)
    assert (drawn.groupby("group")["class"].nunique() == 1).all()
    counts = [table.groupby("group")["class"].first().value_counts().to_dict() for table in (manifest, drawn)]
    assert counts[0] == counts[1]
    changed = drawn.drop_duplicates("group")["class"].to_numpy() != manifest.drop_duplicates("group")["class"].to_numpy()
    assert 0.4 < changed.mean() < 0.9  # by chance some groups draw their own class again


def test_a_row_is_scored_against_the_random_labels(manifest):
    images = np.random.default_rng(1).integers(0, 256, (len(manifest), 150, 150), dtype=np.uint8)
    found = random_labels.row("grouped", 1, images, manifest, epochs=1, train_images=32)
    drawn = random_labels.random_labels(manifest)  # its folds are balanced by the random labels
    labels = drawn["class"].iloc[protocols.split(drawn, "grouped", 1).validation]
    assert list(found) == random_labels.COLUMNS and found["epochs_run"] == 1
    assert found["images"] == len(labels) and found["largest"] == labels.value_counts().max()
    assert 0 <= found["right"] <= found["images"] and 0 <= found["in_training"] <= 1


def test_the_recorded_control_is_at_chance_when_grouped():
    table = pd.read_csv(random_labels.TABLE).set_index(["protocol", "fold"])
    for fold in table.loc["grouped"].index:
        grouped, by_image = table.loc[("grouped", fold)], table.loc[("by_image", fold)]
        assert grouped["right"] <= grouped["largest"] + 3 * np.sqrt(grouped["images"] / 4)  # three standard deviations of a coin
        assert by_image["right"] / by_image["images"] > grouped["right"] / grouped["images"]
