"""The pages made from records: the tables of README, BENCHMARK and MODEL_CARD."""

import re

import pandas as pd

from tumor_mri import text
from tumor_mri.datasets import manifests, protocols
from tumor_mri.evaluation import benchmark, patients, scoring
from tumor_mri.study import claims, publishing

PAGE = manifests.ROOT / "BENCHMARK.md"
CARD = manifests.ROOT / "MODEL_CARD.md"
PUBLIC_CHENG = manifests.DATA / "public_cheng.csv"  # what others reached on the Cheng set, by patient


def write_page(scores: pd.DataFrame, manifest: pd.DataFrame) -> None:
    """Put what `table` gives, the Cheng slices alone, and others' figures, between the markers of ``BENCHMARK.md``."""
    text.write(PAGE, "table", benchmark.as_markdown(scores))
    text.write(PAGE, "cheng", text.as_markdown(cheng_table(manifest)))
    for name, path in {"public": benchmark.PUBLIC, "public-cheng": PUBLIC_CHENG}.items():
        text.write(PAGE, name, text.as_markdown(pd.read_csv(path, keep_default_na=False)))


def cheng_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """The recorded networks on the Cheng slices alone, in percent with 95 % intervals, the best first; see `patients.table`."""
    runs = benchmark.recorded()
    grouped = [run for run in [*runs, *benchmark.combined(runs)] if run.config.protocol == protocols.GROUPED.name]
    found = patients.table(grouped, manifest).sort_values("slice_accuracy", ascending=False)
    said = [found["network"], found["seeds"]]
    for name, several in (("slice", "slices"), ("patient", "patients")):
        columns = (100 * found[[f"{name}_accuracy", f"{name}_low", f"{name}_high"]]).to_numpy()
        heading = f"per {name} ({found[several].iloc[0]:,})"
        said.append(
            pd.Series([f"{mean:.1f} ({low:.1f} to {high:.1f})" for mean, low, high in columns], found.index, name=heading)
        )
    chosen = found["chose_epoch"].map({True: "on these images", False: "fixed beforehand"}).rename("epoch")
    return pd.concat([*said, chosen], axis=1)


ANSWERS = {  # by README: the heading of the table, its rows, and the words of an interval
    "README.md": (
        ["correct answers, in percent", "the report's base network", "our network"],
        [
            "the `Testing` folder, at the best epoch there (ours chooses none)",
            "split B, a random fifth of `Training`, at the best epoch there (the report: {report:.2f}, with fewer filters)",
            "split B, each image scored at an epoch chosen without it",
            "new patients: no known patient and no near-copy found on both sides",
            "unseen gliomas and pituitary tumours of `Testing`, mean of both recalls (always answering glioma: 50)",
        ],
        "{:.1f} ({:.1f} to {:.1f})",
    ),
    "README.es.md": (
        ["respuestas correctas, en porcentaje", "la red base del informe", "nuestra red"],
        [
            "la carpeta `Testing`, en su mejor época en ella (la nuestra no elige ninguna)",
            "la partición B, una quinta parte de `Training` elegida al azar, en su mejor época en ella (el informe: "
            "{report:.2f}, con menos filtros)",
            "la partición B, cada imagen evaluada en una época elegida sin ella",
            "pacientes nuevos: ningún paciente conocido ni casi duplicado hallado a ambos lados",
            "gliomas y tumores hipofisarios no vistos de `Testing`, media de ambas exhaustividades (responder siempre "
            "«glioma» da 50)",
        ],
        "{:.1f} (de {:.1f} a {:.1f})",
    ),
}


def answer(scores: pd.DataFrame, readme: str) -> str:
    """What the collection found, as the table with which a README opens.

    Args:
        scores: `benchmark.table`.
        readme: a key of `ANSWERS`.
    """
    heading, rows, form = ANSWERS[readme]
    report = 100 * claims.load_report_table().loc["accuracy", "f1-score"]
    found = 100 * scores.set_index(["network", "protocol"])[["at_best_epoch", "accuracy", "low", "high", "unseen_recall"]]
    columns = []
    for name in (scoring.BASE, publishing.CONFIG.network):
        split_b, grouped = found.loc[(name, "training_only")], found.loc[(name, "grouped")]
        folder = found.loc[(name, "testing_folder")]
        told = [folder["at_best_epoch"], split_b["at_best_epoch"], split_b["accuracy"]]
        told = ["–" if pd.isna(value) else f"{value:.1f}" for value in told]
        if pd.isna(folder["at_best_epoch"]):
            told[0] = f"{folder['accuracy']:.1f}"  # no epoch was chosen
        columns.append([*told, form.format(*grouped[["accuracy", "low", "high"]]), f"{grouped['unseen_recall']:.1f}"])
    table = pd.DataFrame([[row.format(report=report) for row in rows], *columns], index=heading).T
    written = text.as_markdown(table)
    return re.sub(r"(?<=\d)\.(?=\d)", ",", written) if readme.endswith(".es.md") else written


def write_answers(scores: pd.DataFrame) -> None:
    """Put the answer between the markers of both READMEs.

    Args:
        scores: `benchmark.table`.
    """
    for readme in ANSWERS:
        text.write(manifests.ROOT / readme, "answer", answer(scores, readme))


def write_claims(verdicts: list[claims.Verdict]) -> None:
    """Put the verdicts of `claims.verdicts` between the markers of ``README.md``."""
    text.write(manifests.ROOT / "README.md", "claims", text.as_markdown(claims.claims_table(verdicts)))


def write_card(scores: pd.DataFrame, manifest: pd.DataFrame) -> None:
    """Write the figures of ``MODEL_CARD.md``, from the records and the published files.

    Args:
        scores: `benchmark.table`.
        manifest: table of the images.
    """
    ours = [run for run in benchmark.recorded() if run.label == publishing.CONFIG.label]
    names = {publishing.CONFIG.label, *(one.label for one in benchmark.combined(ours))}
    text.write(CARD, "figures", benchmark.as_markdown(scores[scores["network"].isin(names)]))
    text.write(CARD, "confidence", text.as_markdown(text.in_percent(publishing.answered_table(manifest))))
    text.write(CARD, "failures", text.as_markdown(text.in_percent(_failures(ours, manifest))))


def _failures(ours, manifest):
    """`scoring.missed_tumours` of all seeds: new patients, and the two parts of Testing, which hide one another in a mean."""
    of = {name: [run for run in ours if run.config.protocol == name] for name in ("grouped", "testing_folder")}
    unseen = protocols.is_unseen(manifest["path"], manifest)
    sets = {
        "new patients of Training (grouped)": (of["grouped"], None),
        "Testing, in a group of Training": (of["testing_folder"], manifest.loc[~unseen, "path"]),
        "unseen Testing": (of["testing_folder"], manifest.loc[unseen, "path"]),
    }
    rows = [scoring.missed_tumours(runs, manifest, paths).assign(images=name) for name, (runs, paths) in sets.items()]
    return pd.concat(rows)[["images", "tumours", "missed", "low", "high", "alarms", "alarms_low", "alarms_high"]]
