"""Files to read: painted lesions of the size that the published photos have, 600 × 450 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from skinclf.datasets import make_lesions

WIDTH, HEIGHT = 600, 450


def paint_files(folder: Path, n_images: int, *, detailed: bool = False) -> tuple[list[str], list[str]]:
    """Write JPEG files of painted lesions, one a lesion; return their paths and labels.

    They are smooth, in quality 90 with half the colours in both directions, as most programs write JPEG. With
    `detailed` they have the noise of a camera in every pixel, in quality 95 with all colours, which makes files of
    some six times the size.
    """
    lesions = make_lesions(n_lesions=n_images, images_per_lesion=1, image_size=150, random_state=0)
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    paths, top = [], (WIDTH - HEIGHT) // 2
    for row, pixels in enumerate(lesions.images):
        paths.append(str(folder / f"{row:05d}.jpg"))
        photo = Image.fromarray(pixels).resize((WIDTH, WIDTH), Image.Resampling.BICUBIC)
        photo = photo.crop((0, top, WIDTH, top + HEIGHT))
        if detailed:
            noisy = np.asarray(photo) + rng.normal(0, 6, (HEIGHT, WIDTH, 3))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=95, subsampling=0)
        else:
            photo.save(paths[-1], quality=90)
    return paths, lesions.target.tolist()
