"""Slices of the Cheng set alone: three classes, per slice and per patient, as other work on that set is scored."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tumor_mri import stats
from tumor_mri.datasets import manifests, protocols
from tumor_mri.evaluation import scoring


def answers(runs: Sequence[scoring.Scored], manifest: pd.DataFrame) -> pd.DataFrame:
    """The answers of runs to the slices of the Cheng set among their validation images, as if there were three classes.

    The truth is the label of the Cheng set, which for a few files is not the folder's. The probability of *no tumour* is left
    out, and the others are divided by their sum.

    Returns:
        Columns network, protocol, seed, fold, path, patient and truth (0 to 2), and a column of probability per class of tumour.
    """
    dataset = manifests.dataset_of(manifest)
    tumours = [index for index in range(len(dataset.classes)) if index != dataset.negative_index]
    known = manifest[manifest["cheng_slice"].notna() & manifest["patient"].notna()].set_index("path")
    number = {dataset.classes[index].removesuffix("_tumor"): place for place, index in enumerate(tumours)}
    tables = []
    for run in runs:
        is_known = np.isin(run.val_paths, known.index)
        paths = np.array(run.val_paths)[is_known]
        shares = run.val_probabilities[is_known][:, tumours].astype(float)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
        about = {"network": run.label, "protocol": run.config.protocol, "seed": run.config.seed, "fold": run.config.fold}
        of_patient = {"path": paths, "patient": known.loc[paths, "patient"].to_numpy()}
        truth = known.loc[paths, "cheng_label"].map(number).to_numpy(dtype=int)
        columns = {dataset.classes[index]: shares[:, place] for place, index in enumerate(tumours)}
        tables.append(pd.DataFrame({**about, **of_patient, "truth": truth, **columns}))
    return pd.concat(tables, ignore_index=True)


def table(runs: Sequence[scoring.Scored], manifest: pd.DataFrame) -> pd.DataFrame:
    """One row per network: how many slices and patients of the Cheng set it classifies correctly, in folds by patient.

    The answer to a patient is the class with the largest mean probability over the slices. If a run chose its epoch on these
    images, as the report's network does, its figures are a little too good.

    Args:
        runs: under a protocol that keeps patients together, of one or more seeds with all their folds.
        manifest: table of the images.

    Returns:
        Columns network, seeds, chose_epoch, slices (how many), slice_accuracy, slice_low, slice_high (95 % interval
        over patients), patients, patient_accuracy, patient_low and patient_high. Accuracies are means over seeds, of 1.

    Raises:
        EvaluationError: if a protocol does not keep patients together.
    """
    mixed = sorted({run.config.protocol for run in runs if protocols.get(run.config.protocol).interval != "groups"})
    if mixed:
        raise scoring.EvaluationError(f"{', '.join(mixed)} may have slices of one patient on both sides: score grouped runs")
    rows = []
    given = answers(runs, manifest)
    classes = list(given.columns[-3:])
    for network, found in given.groupby("network", sort=False):
        means = found.groupby(["seed", "patient"], as_index=False)[[*classes, "truth"]].mean()
        row = {"network": network, "seeds": found["seed"].nunique()}
        row["chose_epoch"] = any(run.chose_epoch for run in runs if run.label == network)
        for name, several, asked in (("slice", "slices", found), ("patient", "patients", means)):
            key = "path" if name == "slice" else "patient"
            right = asked[classes].to_numpy().argmax(axis=1) == asked["truth"]
            each = asked.assign(right=right).groupby([key, "patient"] if name == "slice" else key, as_index=False)["right"].mean()
            low, high = stats.group_interval(each["right"], each["patient"])
            row |= {several: len(each), f"{name}_accuracy": each["right"].mean(), f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)
