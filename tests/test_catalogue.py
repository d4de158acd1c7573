"""The studies: each run once, and all recorded."""

import pytest

from tumor_mri.runs import cluster, records
from tumor_mri.study import catalogue, claims


def test_every_study_is_recorded():
    for name, configs in catalogue.STUDIES.items():
        for config in configs:
            assert records.path_of(config, records.RECORDED).is_file(), f"{name} lacks {config.key}"


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown study"):
        catalogue.configs_of("everything")
    with pytest.raises(ValueError, match="C9a"):
        claims.claim("C9a", None)


@pytest.mark.parametrize("name", catalogue.STUDIES)
def test_a_study_names_each_run_once(name):
    assert len({config.key for config in catalogue.configs_of(name)}) == len(catalogue.configs_of(name)) > 0


def test_an_unknown_study_is_named():
    with pytest.raises(ValueError, match="'sweep': choose one of compare-splits"):
        catalogue.configs_of("sweep")


def test_a_users_own_training_is_in_the_precision_of_the_study(monkeypatch):
    """In another one its runs would have other names, and could not stand beside the recorded ones."""
    asked = []
    monkeypatch.setattr(cluster, "complete", lambda wanted, folders, *rest, **named: asked.append((wanted, folders)) or [])
    catalogue.train("compare-splits")
    catalogue.train("compare-splits", record=True)
    wanted = catalogue.configs_of("compare-splits")
    assert asked == [(wanted, [records.LOCAL]), (wanted, [records.RECORDED])]


def test_a_notebook_can_train_all_runs_again_or_one_or_none(monkeypatch):
    asked = []

    def complete(wanted, folders, *rest, **named):
        asked.append((len(wanted), folders))
        return list(wanted)

    monkeypatch.delenv("TUMOR_MRI_RETRAIN", raising=False)
    monkeypatch.setattr(cluster, "complete", complete)
    wanted, both = catalogue.configs_of("compare-splits"), [records.RECORDED, records.LOCAL]
    for retrain, calls in ((False, [(10, both)]), (True, [(10, [records.LOCAL])]), ("one", [(1, [records.LOCAL]), (9, both)])):
        asked.clear()
        assert catalogue.run("compare-splits", retrain=retrain) == wanted
        assert asked == calls
    with pytest.raises(ValueError, match='False, True or "one", not "two"'.replace('"two"', "'two'")):
        catalogue.run("compare-splits", retrain="two")
