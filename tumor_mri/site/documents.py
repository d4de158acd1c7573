"""The pages made from records: the tables of README, BENCHMARK and MODEL_CARD."""

import pandas as pd

from tumor_mri import text
from tumor_mri.datasets import manifests
from tumor_mri.evaluation import benchmark, scoring
from tumor_mri.runs import records
from tumor_mri.study import claims, publishing

PAGE = manifests.ROOT / "BENCHMARK.md"
CARD = manifests.ROOT / "MODEL_CARD.md"


def write_page(scores: pd.DataFrame) -> None:
    """Put what `table` gives, and others' figures, between the markers of ``BENCHMARK.md``."""
    text.write(PAGE, "table", benchmark.as_markdown(scores))
    text.write(PAGE, "public", text.as_markdown(pd.read_csv(benchmark.PUBLIC, keep_default_na=False)))


def write_claims(verdicts: list[claims.Verdict]) -> None:
    """Put the verdicts of `claims.verdicts` between the markers of ``README.md``."""
    text.write(manifests.ROOT / "README.md", "claims", text.as_markdown(claims.claims_table(verdicts)))


def write_card(scores: pd.DataFrame, manifest: pd.DataFrame) -> None:
    """Write the figures of ``MODEL_CARD.md``, from the records and the published files.

    Args:
        scores: `benchmark.table`.
        manifest: table of the images.
    """
    names = {publishing.CONFIG.label, *(one.label for one in benchmark.combined(benchmark.recorded()))}
    text.write(CARD, "figures", benchmark.as_markdown(scores[scores["network"].isin(names)]))
    text.write(CARD, "confidence", text.as_markdown(text.in_percent(publishing.answered_table(manifest))))
    runs = [*publishing.grouped_runs(), records.find(publishing.CONFIG, [records.RECORDED])]
    missed = scoring.missed_tumours(runs, manifest).drop(columns="network")
    text.write(CARD, "failures", text.as_markdown(text.in_percent(missed)))
