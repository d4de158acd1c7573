# Everything here calls `python -m tumor_mri`; without make, that does the same.
# the first Python on the path that TensorFlow supports, tried by running it: a name alone may be a shim of nothing
PYTHON ?= $(or $(shell for python in python3 python3.12 python3.13 python3.11 python3.10; do \
	$$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$python && break; done),python3)
PY := .venv/bin/python
export TF_CPP_MIN_LOG_LEVEL := 3
STUDY ?= compare-splits
PYTEST := $(PY) -m pytest -q -n 2 --dist loadscope --doctest-modules  # a file's tests stay together, for what they share

.PHONY: help reproduce site slides test test-fast test-unit test-jax test-torch test-oldest test-strict test-train venv data verify audit lint notebooks train record runs benchmark timings publish inspect claims kaggle kaggle-push clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

reproduce: venv  ## install, get the dataset, execute all notebooks, write them under build/report
	@$(PY) -m tumor_mri reproduce

site: venv  ## write the notebooks as they are stored, as a website under build/site
	@$(PY) -m tumor_mri site

slides: venv  ## slides of the notebooks' figures, as one page under build/slides
	@$(PY) -m tumor_mri slides

test: lint test-unit test-strict test-train  ## all test lanes

test-fast: venv  ## what one runs while working: all but the slow tests, Kaggle's and the browser's
	$(PYTEST) -m "not slow and not kaggle and not browser" tests tumor_mri

test-unit: venv  ## unit tests, notebook lints, negative controls
	$(PYTEST) tests tumor_mri

test-jax: venv build/jax  ## both networks train with JAX too, which lies apart from the virtual environment
	PYTHONPATH=build/jax $(PY) -m pytest -q tests/test_training.py -k jax

build/jax: tests/requirements-jax.txt
	rm -rf $@
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --target $@ -r $<

test-torch: venv build/torch  ## a PyTorch network is scored, in an environment of its own without TensorFlow
	$(PY) -m pytest -q tests/test_examples.py -k pytorch

build/torch: tests/requirements-torch.txt pyproject.toml
	rm -rf $@
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check -r $< -e .

test-oldest: build/oldest  ## the published network under the oldest TensorFlow and Keras that are supported
	build/oldest/bin/python -m pytest -q -p no:cacheprovider tests/test_published.py tests/test_publishing.py

build/oldest: tests/requirements-oldest.txt pyproject.toml
	rm -rf $@
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check -r $< -e .[train]

test-strict: venv  ## stored outputs of the notebooks must equal re-executed ones
	$(PY) tests/strict_lane.py

test-train: venv  ## each training notebook, with tiny real trainings
	$(PY) tests/train_lane.py

lint: venv  ## ruff, notebooks included; and the direction of imports
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	.venv/bin/lint-imports

venv: .venv/installed  ## the virtual environment .venv, with the exact versions of requirements.lock

.venv/installed: requirements.lock requirements.txt tests/requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else "This needs Python 3.10 to 3.13, which TensorFlow supports; found %d.%d. Install one of them, then: make PYTHON=python3.12 venv" % v)'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

data: venv  ## get the dataset and check every file
	$(PY) -m tumor_mri download

verify: venv  ## check every file of the dataset
	$(PY) -m tumor_mri verify

audit: venv  ## look for copies, shared patients, label conflicts and shortcuts; tables and a gallery under build/audit
	$(PY) -m tumor_mri audit

notebooks: venv  ## execute the notebooks in place
	$(PY) -m tumor_mri notebooks

train: venv  ## train a study here, STUDY=compare-splits, beside the recorded runs
	$(PY) -m tumor_mri train --study $(STUDY)

record: venv  ## train a study and keep its runs beside the recorded ones, STUDY=compare-splits
	$(PY) -m tumor_mri train --study $(STUDY) --record

runs: venv  ## list the recorded runs
	$(PY) -m tumor_mri runs

benchmark: venv  ## compute the baselines of BENCHMARK.md again, and write its tables and those of MODEL_CARD.md
	$(PY) -m tumor_mri benchmark

timings: venv  ## time an epoch: the report's pipeline, ours, PyTorch where it is installed, and the machine's limit
	$(PY) -m performance.speed

publish: venv  ## train the published network again, and write its weights under data/weights
	$(PY) -m tumor_mri publish

inspect: venv  ## train the report's network and ours again, and record what both make of clean and corrupted scans
	$(PY) -m tumor_mri inspect

claims: venv  ## the report's claims beside the recorded runs
	$(PY) -m tumor_mri claims

kaggle: venv  ## write what Kaggle takes under build/kaggle: a folder for each notebook, and a dataset with the package
	@$(PY) -m tumor_mri kaggle

kaggle-push: venv  ## and push it with Kaggle's own client, if there are credentials
	@$(PY) -m tumor_mri kaggle --push

clean:  ## remove what was built; the dataset and the virtual environment stay
	rm -rf build data/cache .pytest_cache .ruff_cache
