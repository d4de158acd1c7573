"""The measurement of studies that are killed."""

import json

from tumor_mri.datasets import manifests


def test_the_reliability_benchmark_found_nothing_lost():
    figures = json.loads((manifests.ROOT / "performance" / "reliability.json").read_text(encoding="utf-8"))
    assert figures["passed"] and figures["kills_that_interrupted"] >= 20 and not figures["commit"].endswith("+")
