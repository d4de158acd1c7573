"""What a network refuses, with an untrained network and a few scans."""

import numpy as np
import pandas as pd
import pytest

from tumor_mri.datasets import download
from tumor_mri.evaluation import corruptions, novelty, scoring
from tumor_mri.models import preprocessing, published
from tumor_mri.runs import configs, records, training
from tumor_mri.study import refusals

CONFIG = configs.config_of("residual", "grouped", fold=3)


def test_the_sets_are_what_their_names_say(manifest):
    sets = refusals.sets_of(CONFIG, manifest)
    row = manifest.set_index("path")
    gliomas = row.loc[sets["unseen gliomas"]]
    assert (gliomas["class"] == "glioma_tumor").all() and gliomas["cheng_slice"].isna().all()
    assert {path.split("/")[0] for path in sets["CT scans of Testing"]} == {"Testing"}
    groups = [set(row.loc[sets[name], "group"]) for name in (refusals.KNOWN, "unseen gliomas", "unseen pituitary tumours")]
    assert not groups[0] & groups[1] and not groups[1] & groups[2] and not groups[0] & groups[2]


@pytest.mark.needs_dataset
def test_each_scan_of_each_set_has_its_row_and_its_measures(manifest, tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (len(manifest), 96, 96), dtype=np.uint8)
    monkeypatch.setattr(preprocessing, "load_prepared", lambda manifest, **settings: noise)
    paths = []
    for seed in (1, 2):
        model = training.build_alone(lambda: training.build_network(CONFIG, (96, 96)), "float32", seed)
        model.save(tmp_path / f"{seed}.keras")
        paths.append(tmp_path / f"{seed}.keras")
    sets = {name: found[:3] for name, found in refusals.sets_of(CONFIG, manifest).items()}
    found = refusals.ask(CONFIG, paths, manifest, download.find(), sets)
    heads = found[found["set"] != refusals.NO_HEAD]
    assert len(heads) == 3 * (len(sets) + len(corruptions.CORRUPTIONS)) and heads["right"].notna().all()
    assert found.loc[found["set"] == refusals.NO_HEAD, "right"].isna().all()
    assert np.isfinite(found[list(refusals.MEASURES)].to_numpy(float)).all()
    assert found["confidence"].between(0.25, 1).all() and found["likeness"].between(-1, 1.0001).all()
    assert (found["agreement"] < 1e-9).all()
    monkeypatch.setattr(refusals, "TABLE", tmp_path / "refusals.csv")
    refusals.write(found)
    again = refusals.read()
    assert again["right"].tolist() == found["right"].tolist() and list(again.columns) == list(found.columns)
    if found.loc[found["set"] == refusals.KNOWN, "right"].any():
        assert len(novelty.refused(again, refusals.MEASURES, refusals.KNOWN)) == len(refusals.MEASURES) * found["set"].nunique()


def test_the_measure_that_refuses_most_is_kept_and_testing_decides_nothing():
    rows = [("energy", refusals.KNOWN, 0.9), ("energy", "noise 50", 0.5), ("energy", "unseen gliomas", 0.0)]
    rows += [("likeness", "noise 50", 0.4), ("likeness", "unseen gliomas", 1.0), ("likeness", "CT scans of Testing", 1.0)]
    rows += [("agreement", "noise 50", 0.55)]
    table = pd.DataFrame(rows, columns=["measure", "set", "refused"])
    assert refusals.chosen(table).to_dict() == {"energy": 0.5, "agreement": 0.55, "likeness": 0.4}
    assert refusals.chosen(table).index[0] == "energy"  # the ensemble is better by half of what it has to be
    table.loc[table["measure"] == "agreement", "refused"] = 0.65
    assert refusals.chosen(table).index[0] == "agreement"


def test_the_committed_answers_are_those_of_the_recorded_run(manifest):
    config = configs.config_of(published.NETWORK, "grouped", fold=3)
    run = records.find(config, [records.RECORDED])
    recorded = pd.Series(run.val_probabilities.argmax(axis=1) == scoring.truth(run.val_paths, manifest), index=run.val_paths)
    known = refusals.read().query("set == @refusals.KNOWN").set_index("path")["right"].astype(bool)
    assert set(known.index) == set(recorded.index)
    assert (known == recorded[known.index]).mean() > 0.99  # another machine rounds otherwise
