"""``data/croissant.json``: the tables about the images in the Croissant format, with its fields on responsible AI.

Dataset search engines and loaders read it; version 1.1, https://docs.mlcommons.org/croissant.
"""

import hashlib
import json
from pathlib import Path

import pandas as pd

from tumor_mri import text
from tumor_mri.datasets import manifests

PATH = manifests.DATA / "croissant.json"
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
MANIFEST = {  # column: type and meaning
    "path": ("sc:Text", "path of the image, relative to the dataset's folder"),
    "sha256": ("sc:Text", "SHA-256 of the file"),
    "bytes": ("sc:Integer", "size of the file in bytes"),
    "width": ("sc:Integer", "width in pixels"),
    "height": ("sc:Integer", "height in pixels"),
    "split": ("sc:Text", "Training or Testing: the folder"),
    "class": ("sc:Text", "glioma_tumor, meningioma_tumor, no_tumor or pituitary_tumor: the folder"),
    "cheng_slice": ("sc:Text", "number of the slice of the Cheng set that the image shows; empty if there is none"),
    "cheng_label": ("sc:Text", "class of that slice in the Cheng set"),
    "patient": ("sc:Text", "patient of that slice, without its letter suffix"),
    "group": ("sc:Integer", "a label such that no known patient, and no near-copy that the search found, is in two groups"),
    "nearest_training": ("sc:Text", "the most similar other image of Training"),
    "nearest_training_corr": ("sc:Float", "correlation of the two 32 x 32 thumbnails"),
    "near_copy": (
        "sc:Integer",
        "1 if near-duplicates (that correlation above 0.99, or aligned copies) link it to another image of Training",
    ),
}
GROUPS = {
    "path": ("sc:Text", "path of the image"),
    "group": ("sc:Integer", "the group"),
    "fold": ("sc:Integer", "the fold in which the image validates; -1 for Testing"),
    "version": ("sc:Integer", "version of the rule that makes the groups"),
}
RESPONSIBLE = {
    "rai:dataCollection": "Images were collected by the authors of the Kaggle dataset; most tumour images are slices of the "
    "set of Cheng et al. (T1-weighted, contrast-enhanced, two hospitals in China, 2005 to 2010). "
    "The other sources are not documented.",
    "rai:dataCollectionType": ["Secondary data analysis"],
    "rai:dataAnnotationProtocol": "The class is that of the folder. Patients and slices were assigned by matching images with "
    "the Cheng set; near-copies by correlation of thumbnails.",
    "rai:dataPreprocessingProtocol": "None: the files are described as their authors published them.",
    "rai:dataBiases": [
        "The class correlates with the source: every glioma of Training is a Cheng slice, no scan without a tumour is.",
        "Two thirds of Testing are near-copies of images of Training.",
        "Age, sex, scanner and sequence are not known, except what the Cheng set documents.",
    ],
    "rai:dataLimitations": [
        "For most images without a tumour, and for images of other sources, the patient is not known.",
        "At least 14 files have another class than the slice that they show.",
        "Not suited to clinical use, nor to claims about patients of other hospitals.",
    ],
    "rai:dataUseCases": [
        "Teaching: data leakage, grouped validation, shortcuts, calibration.",
        "Comparison of methods on new patients.",
    ],
    "rai:personalSensitiveInformation": ["Medical images without names; patients have codes of the Cheng set."],
    "rai:dataSocialImpact": "Results on leaking splits overstate what networks know about new patients, and may mislead.",
    "rai:dataReleaseMaintenancePlan": "The tables are versioned with the project; a change of the groups gets a new version.",
}


def build() -> dict:
    """The description of the committed tables."""
    files = [_file("manifest.csv", "one row per image"), _file("groups.csv", "groups and folds of the benchmark")]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": "brain-tumor-classification-mri-manifest",
        "description": "Facts about the 3,264 images of the Kaggle dataset Brain Tumor Classification (MRI): copies, patients, "
        "sources, groups and leak-free folds. The images are not included. Material for learning, not for diagnosis.",
        "license": "https://spdx.org/licenses/MIT.html",
        "url": "https://www.kaggle.com/datasets/sartajbhuvaji/brain-tumor-classification-mri",
        "creator": {"@type": "Organization", "name": "The tumor-mri contributors"},
        "citeAs": "The tumor-mri contributors: Brain-tumour MRI classification, reproduced and examined. Images: Bhuvaji et al., "
        "doi:10.34740/KAGGLE/DSV/1183165; Cheng et al., doi:10.6084/m9.figshare.1512427.",
        "datePublished": "2026-11-24",
        "version": "1.0.0",
        "keywords": ["brain tumour", "MRI", "classification", "data leakage", "near-duplicates"],
        "isLiveDataset": False,
        **RESPONSIBLE,
        "distribution": files,
        "recordSet": [
            _records("images", "manifest.csv", MANIFEST, "one record per image"),
            _records("groups", "groups.csv", GROUPS, "the group and the fold of each image", {"path": "images/path"}),
        ],
    }


def _file(name, description):
    content = (manifests.DATA / name).read_bytes()
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": description,
        "contentUrl": name,
        "contentSize": f"{len(content)} B",
        "encodingFormat": "text/csv",
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _records(name, file, columns, description, references=None):
    fields = []
    for column, (kind, meaning) in columns.items():
        field = {
            "@type": "cr:Field",
            "@id": f"{name}/{column}",
            "name": f"{name}/{column}",
            "description": meaning,
            "dataType": kind,
            "source": {"fileObject": {"@id": file}, "extract": {"column": column}},
        }
        if references and column in references:
            field["references"] = {"field": {"@id": references[column]}}
        fields.append(field)
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "key": {"@id": f"{name}/path"},
        "field": fields,
    }


def write(path: Path | str = PATH) -> None:
    """Write the description, after checking that it names every column of the tables.

    Raises:
        ValueError: if a table has other columns than described.
    """
    for file, described in {"manifest.csv": MANIFEST, "groups.csv": GROUPS}.items():
        found = list(pd.read_csv(manifests.DATA / file, nrows=0).columns)
        if found != list(described):
            raise ValueError(f"{file} has the columns {', '.join(found)}, described are {', '.join(described)}")
    text.write_whole(path, json.dumps(build(), indent=1, ensure_ascii=False) + "\n")
