"""Brain-tumour MRI classification, reproduced and examined.

The notebooks in ``notebooks/`` tell the story; this package holds what they call. Data flows one way::

    dataset -> protocols -> network -> preprocessing -> recipe -> training -> records -> study -> statistics -> wording ->
    evaluation -> claims -> ensemble -> audit -> benchmark -> gradcam, robustness, prediction -> inspection -> figures ->
    gallery, insight

Material for learning. Not a diagnostic device.
"""

__version__ = "0.1.0"
