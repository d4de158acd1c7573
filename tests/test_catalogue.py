"""The studies: each run once, and all recorded."""

import pytest

from tumor_mri.runs import cluster, environment, records
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


def test_a_users_own_training_is_in_the_precision_of_the_machine(monkeypatch):
    asked = []
    monkeypatch.setattr(cluster, "complete", lambda wanted, folders, *rest: asked.append((wanted, folders)))
    monkeypatch.setattr(environment, "native_precision", lambda: "float32")
    catalogue.train("compare-splits")
    catalogue.train("compare-splits", record=True)
    (own, own_folders), (published, published_folders) = asked
    assert {config.precision for config in own} == {"float32"} and own_folders == [records.LOCAL]
    assert {config.precision for config in published} == {"mixed_bfloat16"} and published_folders == [records.RECORDED]
