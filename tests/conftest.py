"""Shared by the tests.

One flat folder. A file is named after the module that it tests (``test_records.py``: ``tumor_mri/runs/records.py``), or after a
theme that runs through all of them: ``test_bad_input``, ``test_honest``, ``test_properties``, ``test_spanish``, ``test_layout``.
What several files use is here (fixtures, made once) or in `samples` (plain values and functions).
"""

import functools
import os
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
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


@pytest.fixture(scope="session")
def every_run():
    """All committed records."""
    from tumor_mri.runs import records

    return records.load_all(records.RECORDED)


@pytest.fixture(scope="session")
def runs():
    """The committed runs of the report's sweep over widths."""
    from tumor_mri.study import catalogue

    return catalogue.recorded("sweep-widths")


@pytest.fixture(scope="session")
def base(runs):
    """The base network's first run on each split."""
    chosen = [run for run in runs if run.config.widths == (32, 64, 128, 128) and run.config.seed == 1]
    return {run.config.protocol: run for run in chosen}


@pytest.fixture(scope="session")
def split_b(base):
    """The base network's first run on split B."""
    return base["training_only"]


@pytest.fixture(scope="session")
def scores(runs, manifest):
    """A row per image of `runs`."""
    from tumor_mri.evaluation import scoring

    return scoring.image_scores(runs, manifest)


def _noise(manifest, side):
    return np.random.default_rng(0).integers(0, 256, (len(manifest), side, side), dtype=np.uint8)


@pytest.fixture(scope="session")
def noise(manifest):
    """Noise in the place of scans, 150 x 150."""
    return _noise(manifest, 150)


@pytest.fixture(scope="session")
def small_noise(manifest):
    """Noise in the place of prepared scans, 64 x 64."""
    return _noise(manifest, 64)


@pytest.fixture(scope="session")
def run(noise, manifest):
    """A run of the report's network, trained on noise."""
    import samples

    from tumor_mri.runs import training

    return training.train(samples.TINY, noise, manifest, progress=False)


@pytest.fixture(scope="session")
def residual_run(small_noise, manifest):
    """A run of the residual network, trained on noise."""
    import samples

    from tumor_mri.runs import training

    return training.train(samples.TINY_OURS, small_noise, manifest, progress=False)


@pytest.fixture
def scan():
    """A drawn head, in grey."""
    rows, columns = np.mgrid[:180, :200]
    head = ((rows - 90) / 70) ** 2 + ((columns - 100) / 60) ** 2 < 1
    return np.where(head, 160, 5).astype(np.uint8) + rows.astype(np.uint8) // 4


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The website, with the page for one's own scan."""
    from tumor_mri.site import notebooks

    return notebooks.site(tmp_path_factory.mktemp("site")).parent


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    """Serve a folder on this machine; returns its address."""
    servers = []

    def start(folder):
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def chromium():
    """A headless browser."""
    import browser

    with browser.started() as opened:
        yield opened
