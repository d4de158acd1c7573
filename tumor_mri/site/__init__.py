"""The notebooks executed, as a website, on Kaggle, and the pages that are made from records."""

from tumor_mri.site.kaggle import KaggleError, build, push
from tumor_mri.site.notebook_files import Listing, PageError, listings, notebook_paths
from tumor_mri.site.notebooks import execute, refresh, reproduce, site

__all__ = [
    "KaggleError",
    "Listing",
    "PageError",
    "build",
    "execute",
    "listings",
    "notebook_paths",
    "push",
    "refresh",
    "reproduce",
    "site",
]
