"""Brain-tumour MRI classification, reproduced and examined.

The notebooks in ``notebooks/`` tell the story; this package holds what they call, in eight rooms. A room imports only from rooms
before it::

    datasets    which images there are, where they come from, who trains and who validates
    audit       copies, near-duplicates, patients on both sides, label conflicts, shortcuts
    models      networks, recipes, the published network, where a network looks
    runs        one training, its record on disk, many of them on a cluster
    evaluation  scores, comparisons with intervals, calibration, ensembles, corruptions, the benchmark
    study       this report's runs, its claims and its gap
    figures     every figure, with the sentence that it prints
    site        the notebooks executed, as a website, on Kaggle

Material for learning. Not a diagnostic device.
"""

__version__ = "0.1.0"


def __getattr__(name):
    """``from tumor_mri import keras``: Keras without the lines that its import prints, and only once somebody asks for it."""
    if name == "keras":
        from tumor_mri._keras import keras

        return keras
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
