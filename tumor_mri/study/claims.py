"""The report's own numbers, and the verdicts on its claims."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tumor_mri.datasets import manifests, protocols
from tumor_mri.evaluation import scoring
from tumor_mri.models import networks
from tumor_mri.runs import configs
from tumor_mri.study import gap
from tumor_mri.text import say, span

REPORT_ENDS = (43, 50)  # according to the report, runs end between these epochs
LIMIT = 60  # epochs, the report's
COMPARE_NETWORKS = ("C3", "C5")  # claims about pairs of runs with the same seed


def load_report_log() -> pd.DataFrame:
    """The training log that the report prints: epoch, loss, accuracy, val_loss, val_accuracy."""
    return pd.read_csv(manifests.DATA / "report" / "log.csv")


def load_report_matrix() -> np.ndarray:
    """The report's confusion matrix, reconstructed from its table and text; rows truth, columns prediction, int, (4, 4).

    Example:
        >>> matrix = load_report_matrix()
        >>> print(f"{matrix.sum()} images, accuracy {matrix.trace() / matrix.sum():.2%}")
        574 images, accuracy 92.33%
    """
    return pd.read_csv(manifests.DATA / "report" / "matrix.csv", index_col=0).to_numpy()


def load_report_table() -> pd.DataFrame:
    """The report's table of precision, recall, f1 and support, as printed."""
    return pd.read_csv(manifests.DATA / "report" / "table.csv", index_col=0)


def load_claims() -> pd.DataFrame:
    """The report's claims, each with the reported figure and the criterion that decides it, by id.

    Example:
        >>> list(load_claims().index)
        ['C1', 'C2', 'C3', 'C4', 'C5', 'C6', 'C7a', 'C7b', 'C8', 'C9a', 'C9b']
    """
    return pd.read_csv(manifests.DATA / "report" / "claims.csv", index_col="id")


@dataclass(frozen=True)
class Verdict:
    """A claim, the report's figure, the result of the runs here, and the conclusion."""

    id: str
    claim: str
    report: str
    here: str
    verdict: str

    def __str__(self):
        return f"{self.id} · {self.claim} · report: {self.report} · here: {self.here} · {self.verdict}"


def verdicts(runs: Sequence[configs.Run], manifest: pd.DataFrame) -> list[Verdict]:
    """The verdicts on the claims C1 to C9b, in this order."""
    summary = scoring.summarise(runs, manifest)
    decided = [claim(id, summary) for id in _CRITERIA]
    return [*decided, claim_on_table(runs, manifest), claim_on_testing(runs, manifest), claim_on_quality(runs, manifest)]


def claims_table(found: Sequence[Verdict]) -> pd.DataFrame:
    """Verdicts as a table, one row per claim: id, claim, report, here, verdict."""
    return pd.DataFrame(found)


def claim(id: str, summary: pd.DataFrame) -> Verdict:
    """The verdict on a claim about accuracies, C1 to C7b, from the table of `evaluation.summarise`.

    Each run, or pair of runs with the same seed for a claim that compares networks, is compared with the criterion in
    ``data/report/claims.csv``; for the conclusion see `decide`.

    Raises:
        ValueError: for a claim that accuracies alone do not decide.
    """
    if id not in _CRITERIA:
        raise ValueError(f"claim {id!r} is not decided by accuracies: choose one of {', '.join(_CRITERIA)}")
    held, here = _CRITERIA[id](summary)
    row = load_claims().loc[id]
    return Verdict(id, row["claim"], row["report_figure"], here, decide(held, "pair" if id in COMPARE_NETWORKS else "run"))


def claim_on_table(runs: Sequence[configs.Run], manifest: pd.DataFrame) -> Verdict:
    """The verdict on C8, the report's table of scores, from the report's own confusion matrix.

    The criterion in ``data/report/claims.csv`` concerns the printed columns alone. Runs of the same network do not decide it;
    their accuracy is shown for comparison.
    """
    matrix, printed = load_report_matrix(), load_report_table()
    as_printed, exchanged = (_agrees(printed, scoring.classification_table(found)) for found in (matrix, matrix.T))
    right = round(matrix.trace() / matrix.sum(), 4) == printed.loc["accuracy", "f1-score"]
    verdict, why = "refuted as printed", "the columns are not those of the matrix"
    if as_printed:
        verdict, why = "holds", "the columns are those of the matrix"
    elif exchanged:
        why = "precision and recall are exchanged, support counts predictions"
    here = f"{why}; the accuracy is {'' if right else 'not '}the matrix's; {_here_on_table(runs, manifest)}"
    row = load_claims().loc["C8"]
    return Verdict("C8", row["claim"], row["report_figure"], here, verdict)


def _agrees(printed, table):
    """Whether a printed table equals that of `evaluation.classification_table` to the four digits printed, averages excluded."""
    columns = ["precision", "recall", "f1-score", "support"]
    both = (found.loc[list(manifests.BRAIN_TUMOUR_MRI.labels), columns].to_numpy(dtype=float) for found in (printed, table))
    return np.allclose(*both, rtol=0, atol=5.1e-5)


def _here_on_table(runs, manifest):
    chosen = configs.config_of("cnn", protocols.TRAINING_ONLY.name, widths=networks.CHOSEN_WIDTHS)
    found = [run for run in runs if run.config.protocol == chosen.protocol and run.config.same_network(chosen)]
    if not found:
        return "no runs here"
    scores = scoring.run_scores(scoring.image_scores(found, manifest))
    best, honest = (say(100 * scores[name], " %") for name in ("at_best_epoch", "accuracy"))
    return f"runs here {best} at the best epoch, {honest} cross-fitted"


def claim_on_testing(runs: Sequence[configs.Run], manifest: pd.DataFrame) -> Verdict:
    """The verdict on C9a, that Testing has too few images, from runs on splits A and B.

    Each split A run is compared with the split B run of the same network and seed, by the criterion in
    ``data/report/claims.csv``; for the conclusion see `decide`.
    """
    pairs = testing_pairs(runs, manifest)
    here = (
        f"Testing {span(pairs['testing'])}; split B {span(pairs['set_aside'])}, 95 % of draws of {gap.TESTING_SIZE} from "
        f"{span(pairs['low'])} up"
    )
    row = load_claims().loc["C9a"]
    held = pairs["testing"].between(pairs["low"], pairs["high"])
    return Verdict("C9a", row["claim"], row["report_figure"], here, decide(held, "pair"))


def claim_on_quality(runs: Sequence[configs.Run], manifest: pd.DataFrame) -> Verdict:
    """The verdict on C9b, that the images of Testing are too poor: these runs do not test it.

    A test would spoil good scans until they are as poor as those of Testing. That Testing's near-copies are classified correctly
    says nothing, since they are the images that training has.
    """
    pairs, row = testing_pairs(runs, manifest), load_claims().loc["C9b"]
    here = f"its near-copies {span(pairs['near_copies'])}, but these are images that training has"
    return Verdict("C9b", row["claim"], row["report_figure"], here, "not tested")


def testing_pairs(runs: Sequence[configs.Run], manifest: pd.DataFrame) -> pd.DataFrame:
    """One row per split A run that has a split B run of the same network and seed. Accuracies are shares of 1.

    Columns: network and seed; from split A: testing (accuracy on all of it), near_copies (accuracy on them), foreign (points of
    accuracy lost to errors on foreign gliomas); from split B: set_aside (validation accuracy), low and high (the middle 95 % of
    the accuracies on random samples of 394 validation images, see `gap.draw_ranges`).
    """
    scoring.check_comparable(runs, manifest)
    split_a, split_b = ([run for run in runs if run.config.protocol == one.name] for one in protocols.REPORT_SPLITS)
    columns = ["network", "seed"]
    if not split_a or not split_b:
        return pd.DataFrame(columns=[*columns, "testing", "near_copies", "foreign", "set_aside", "low", "high"])
    scores = gap.testing_scores(split_a, manifest).set_index("part")
    of_part = {part: scores.loc[[part]].set_index(columns) for part in protocols.testing_parts(manifest)}
    wrong = sum(part["errors"] for part in of_part.values())
    images = sum(part["images"] for part in of_part.values())
    table = pd.DataFrame({"testing": 1 - wrong / images, "near_copies": of_part["near-copies"]["accuracy"]})
    table["foreign"] = 100 * of_part["foreign gliomas"]["errors"] / images
    set_aside = scoring.key_figures(split_b, manifest).set_index(columns)["val_accuracy"].rename("set_aside")
    draws = gap.draw_ranges(split_b, manifest, (gap.TESTING_SIZE,)).set_index(columns)[["low", "high"]]
    return table.join(set_aside, how="inner").join(draws).reset_index()


def decide(held: Sequence[bool], unit: str = "run") -> str:
    """The conclusion from the runs that meet a criterion, with their number.

    A claim *holds* if more than half of all trainings would meet it, and is *refuted* if fewer than half would, each by a
    one-sided exact binomial bound at 95 % (Clopper and Pearson 1934); otherwise it is *not decided*. Five runs that agree are the
    fewest that decide.

    Args:
        held: whether each run, or pair of runs, meets the criterion.
        unit: what is counted, ``run`` or ``pair``.

    Example:
        >>> decide([True] * 5), decide([True, False, True])
        ('holds (5 of 5 runs)', 'not decided (2 of 3 runs)')
    """
    from scipy import stats

    met, count = int(np.sum(held)), len(held)
    if count == 0:
        return f"not decided (no {unit}s)"
    word = "not decided"
    for met_or_not, conclusion in ((met, "holds"), (count - met, "refuted")):
        if stats.binomtest(met_or_not, count, alternative="greater").pvalue <= 0.05:
            word = conclusion
    return f"{word} ({met} of {count} {unit if count == 1 else f'{unit}s'})"


def _pick(summary, protocol, *widths):
    labels = [configs.config_of("cnn", protocol.name, widths=width).label for width in widths]
    return summary[(summary["protocol"] == protocol.name) & summary["network"].isin(labels)]


def _beside_base(summary, protocol, *widths):
    """Runs joined with the base network's run of the same seed, whose columns end in ``_base``."""
    base = _pick(summary, protocol, networks.BASE_WIDTHS)
    return _pick(summary, protocol, *widths).merge(base, on="seed", suffixes=("", "_base"))


def _c1(summary):
    runs = _pick(summary, protocols.TESTING_FOLDER, networks.BASE_WIDTHS)
    held = (runs["train_accuracy"] > 0.90) & (runs["val_accuracy"] < 0.80)
    return (
        held,
        f"training {say(100 * runs['train_accuracy'], ' %')}, validation {say(100 * runs['val_accuracy'], ' %')}",
    )


def _c2(summary):
    runs = _pick(summary, protocols.TESTING_FOLDER, networks.MORE_WIDTHS)
    return runs["gap"].between(20, 25), f"gap {say(runs['gap'], ' points')}"


def _c3(summary):
    runs = _beside_base(summary, protocols.TESTING_FOLDER, networks.CHOSEN_WIDTHS)
    change = runs["gap"] - runs["gap_base"]
    return change.abs() <= 5, f"gap changes by {say(change, ' points')}"


def _c4(summary):
    runs = _pick(summary, protocols.TRAINING_ONLY, networks.BASE_WIDTHS)
    reach = (runs["train_accuracy"] >= 0.90) & (runs["val_accuracy"] >= 0.90)
    here = f"training {say(100 * runs['train_accuracy'], ' %')}, validation {say(100 * runs['val_accuracy'], ' %')}"
    return reach & runs["gap"].between(4, 6), f"{here}, gap {say(runs['gap'], ' points')}"


def _c5(summary):
    runs = _beside_base(summary, protocols.TRAINING_ONLY, networks.MORE_WIDTHS, networks.SOME_MORE_WIDTHS)
    change = 100 * (runs["val_accuracy"] - runs["val_accuracy_base"])
    flatter = runs["oscillation"] - runs["oscillation_base"]
    by_seed = [values.groupby(runs["seed"]).mean() for values in (change, flatter)]  # both networks share one base run
    here = f"validation changes by {say(by_seed[0], ' points')}, oscillation by {say(by_seed[1], ' points', 2)}"
    return (change.abs() <= 2) & (flatter < 0), here


def _c6(summary):
    runs = _pick(summary, protocols.TRAINING_ONLY, networks.CHOSEN_WIDTHS)
    return runs["gap"] <= 5, f"gap {say(runs['gap'], ' points')}"


def _on_split_b(summary):
    return _pick(summary, protocols.TRAINING_ONLY, networks.BASE_WIDTHS, networks.CHOSEN_WIDTHS)


def _c7a(summary):
    runs = _on_split_b(summary)
    by_seed, precision = runs.groupby("seed")["epochs_run"].mean(), " and ".join(runs["precision"].unique())
    span_of_ends = f"{runs['epochs_run'].min()} to {runs['epochs_run'].max()} epochs"
    here = f"runs in {precision} end after {span_of_ends}, mean {say(by_seed)}"
    return runs["epochs_run"].between(*REPORT_ENDS), here


def _c7b(summary):
    runs = _on_split_b(summary)
    return runs["epochs_run"] < LIMIT, f"the longest of these runs ends after {runs['epochs_run'].max()} epochs"


_CRITERIA = {"C1": _c1, "C2": _c2, "C3": _c3, "C4": _c4, "C5": _c5, "C6": _c6, "C7a": _c7a, "C7b": _c7b}
