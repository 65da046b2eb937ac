"""Fixtures that several test packages share."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.utils import Bunch

from skinclf import _leakage
from skinclf.datasets import load_ham10000, make_lesions


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tiny networks are fastest on one thread, and pytest-xdist already uses the cores."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _nothing_noted() -> None:
    """Lesions that an `ImageLoader` of one test has noted must not make the guard warn in another."""
    _leakage._noted.clear()


@pytest.fixture(scope="session")
def lesions() -> Bunch:
    """84 painted lesions, two photos each, 16 pixels: enough to fit, small enough to fit often."""
    return make_lesions(n_lesions=84, images_per_lesion=2, image_size=16, random_state=0)


@pytest.fixture(scope="session")
def lesion_files(lesions: Bunch, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The same images as PNG files, in a frame as the loaders give it."""
    folder = tmp_path_factory.mktemp("lesions")
    paths = [str(folder / f"lesion_{row:03d}.png") for row in range(len(lesions.images))]
    for path, image in zip(paths, lesions.images, strict=True):
        Image.fromarray(image).save(path)
    return lesions.data.assign(image=paths)


@pytest.fixture(scope="session")
def ham10000() -> Bunch:
    """The real data set; the test is skipped where it is not."""
    if "SKINCLF_DATA" not in os.environ:
        pytest.skip("SKINCLF_DATA does not say where the real HAM10000 images are")
    return load_ham10000()


@pytest.fixture(scope="session")
def ham10000_subset(ham10000: Bunch) -> Bunch:
    """Some 700 real images: at most 100 a class, all photos of every lesion that is in it."""
    frame = ham10000.frame
    lesions = frame.drop_duplicates("lesion_id").groupby("dx").head(75)["lesion_id"]
    rows = np.flatnonzero(frame["lesion_id"].isin(lesions))
    return Bunch(
        data=ham10000.data.iloc[rows].reset_index(drop=True),
        target=ham10000.target[rows],
        groups=ham10000.groups[rows],
    )


@pytest.fixture
def no_global_randomness() -> None:
    """Fail if the test changes the state of NumPy's or torch's global generator."""
    import torch

    numpy_before, torch_before = np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    yield
    for now, before in zip(np.random.get_state(), numpy_before, strict=True):  # noqa: NPY002
        np.testing.assert_array_equal(now, before)
    assert torch.equal(torch.random.get_rng_state(), torch_before)
