"""Data sets: where images come from.

Every loader returns a Bunch of the same form: ``data``, ``target``, ``groups`` (the lesion of each image),
``frame``, ``target_names`` and ``DESCR``. Loaders return paths; :mod:`skinclf.preprocessing` decodes them.
"""

from __future__ import annotations

from skinclf.datasets._fetch import fetch_ham10000
from skinclf.datasets._ham10000 import load_ham10000
from skinclf.datasets._isic import load_isic
from skinclf.datasets._synthetic import make_lesions

__all__ = ["fetch_ham10000", "load_ham10000", "load_isic", "make_lesions"]
