"""The description of the tables in the Croissant format: valid, and true."""

import json

import mlcroissant
import pandas as pd
import pytest

from tumor_mri.datasets import manifests
from tumor_mri.site import croissant


@pytest.fixture(scope="module")
def described():
    return mlcroissant.Dataset(jsonld=croissant.PATH)


def test_it_is_valid(described):
    issues = described.metadata.ctx.issues
    assert not issues.errors and not issues.warnings, (issues.errors, issues.warnings)


def test_it_is_the_one_of_these_tables():
    assert json.loads(croissant.PATH.read_text(encoding="utf-8")) == croissant.build(), "run `make benchmark`"


@pytest.mark.parametrize("name, table", [("images", "manifest.csv"), ("groups", "groups.csv")])
def test_its_records_are_the_rows(described, name, table):
    expected = pd.read_csv(manifests.DATA / table)
    records = list(described.records(name))
    assert len(records) == len(expected)
    first = {key.split("/")[1]: value for key, value in records[0].items()}
    assert set(first) == set(expected.columns)
    assert first["path"] in (expected["path"][0], expected["path"][0].encode())
    assert first["group"] == expected["group"][0]


def test_a_column_that_is_not_described_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(croissant, "GROUPS", {"path": ("sc:Text", "path")})
    with pytest.raises(ValueError, match="groups.csv has the columns path, group, fold, version"):
        croissant.write(tmp_path / "croissant.json")


def test_the_responsible_fields_are_there():
    assert {"rai:dataBiases", "rai:dataLimitations", "rai:personalSensitiveInformation"} <= set(croissant.build())
