"""Write ``data/refusals.csv`` again: ``python -m tools.refusals`` trains the published network three times on one grouped fold.

A network that is trained already is read from ``build/refusals``, so the command goes on where it was stopped. It takes about 15
minutes of one core for each network, and a few minutes for the questions.
"""

from dataclasses import replace

from tumor_mri.datasets import download, manifests
from tumor_mri.models import published
from tumor_mri.runs import checkpoints, configs, training
from tumor_mri.study import inspection, refusals

FOLDER = manifests.ROOT / "build" / "refusals"
FIRST = configs.config_of(published.NETWORK, "grouped", fold=inspection.FOLD)
SEEDS = (1, 2, 3)  # the first answers; all of them are the ensemble


def main():
    """Train what is missing, ask, and write the table."""
    manifest, folder = manifests.load_manifest(), download.locate()
    FOLDER.mkdir(parents=True, exist_ok=True)
    paths = []
    for config in (replace(FIRST, seed=seed) for seed in SEEDS):
        paths.append(FOLDER / f"{config.key}.keras")
        if not paths[-1].exists():
            checkpoint = checkpoints.path_of(config)
            training.train(config, manifest=manifest, save_to=paths[-1], checkpoint=checkpoint)
            checkpoint.unlink(missing_ok=True)
    refusals.write(refusals.ask(FIRST, paths, manifest, folder, refusals.sets_of(FIRST, manifest)))


if __name__ == "__main__":
    main()
