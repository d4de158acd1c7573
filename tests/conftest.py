"""Shared by the unit tests."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

from tumor_mri.datasets import download, manifests

HOW = "needs the dataset: run `make data`, or set TUMOR_MRI_DATA to its folder"


def pytest_configure():
    try:
        download.find()
    except manifests.DatasetError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_collection_modifyitems(items):
    if download.find() is None:
        for item in items:
            if item.get_closest_marker("needs_dataset"):
                item.add_marker(pytest.mark.skip(reason=HOW))


@pytest.fixture(scope="session")
def manifest():
    return manifests.load_manifest()
