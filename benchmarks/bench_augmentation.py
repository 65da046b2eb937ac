"""How fast a batch is augmented, beside torchvision's transforms image by image, and what it costs a training.

    pip install torchvision
    python benchmarks/bench_augmentation.py --output docs/results/augmentation.json

Augmentation: 64 uint8 images become one augmented float32 batch. Both sides mirror along both axes, turn by up to
20 degrees, magnify by up to 1.2, move by up to 5 %, change brightness, contrast, saturation and hue, and erase a
box in a quarter of the images; ours adds quarter turns and fills with reflection, which torchvision does not have.
torchvision works image by image, as a dataset's ``__getitem__`` does, on uint8 tensors, on float tensors and on
PIL images; ours is compared with the fastest of the three.

Training: steps of `lesion_cnn` in plain PyTorch on batches of 64 out of a uint8 array, with and without
augmentation.

All contestants take turns within each round; a ratio is one of the medians over the rounds. A few minutes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from _rounds import claim, in_turns, medians, worst, write_result
from PIL import Image
from torch.nn.functional import cross_entropy
from torchvision.transforms import v2

from skinclf._random import torch_generator
from skinclf.augmentation import LesionAugmenter
from skinclf.augmentation._augmenter import _slices, _unit_scale
from skinclf.augmentation._color import ColorChange
from skinclf.augmentation._erasing import fill_boxes
from skinclf.augmentation._geometry import AffineChange
from skinclf.models import StandardizedNetwork, lesion_cnn

N_IMAGES = 64
STRENGTH = {"rotation": 20, "zoom": 0.2, "shift": 0.05, "brightness": 0.15, "contrast": 0.15, "saturation": 0.15}
AUGMENTER = LesionAugmenter(**STRENGTH, hue=0.02, erasing=0.25)
FLIPS = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
MOVES = v2.RandomAffine(20, (0.05, 0.05), (1 / 1.2, 1.2), interpolation=v2.InterpolationMode.BILINEAR)
COLORS = v2.ColorJitter(brightness=0.15, contrast=0.15, saturation=0.15, hue=0.02)
TO_FLOAT = v2.ToDtype(torch.float32, scale=True)
ERASING = v2.RandomErasing(p=0.25, scale=(0.02, 0.2), ratio=(0.3, 1 / 0.3))
THEIRS = {
    "torchvision_uint8": v2.Compose([*FLIPS, MOVES, COLORS, TO_FLOAT, ERASING]),
    "torchvision_float": v2.Compose([TO_FLOAT, *FLIPS, MOVES, COLORS, ERASING]),
    "torchvision_pil": v2.Compose([*FLIPS, MOVES, COLORS, v2.ToImage(), TO_FLOAT, ERASING]),
}


def milliseconds(contestants: dict[str, Callable[[], Any]], rounds: int, seconds: float) -> dict[str, float]:
    """Return the median over the rounds of the milliseconds that a call takes."""
    return {name: 1000 * value for name, value in medians(in_turns(contestants, rounds, seconds)).items()}


def augmentation(side: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Compare the augmentation of one batch."""
    pixels = np.random.default_rng(0).integers(0, 256, (N_IMAGES, side, side, 3), dtype=np.uint8)
    batch, generator = torch.from_numpy(pixels).permute(0, 3, 1, 2), torch_generator(0)
    tensors = [image.contiguous() for image in batch]
    forms = dict.fromkeys(THEIRS, tensors) | {"torchvision_pil": [*map(Image.fromarray, pixels)]}

    def image_by_image(name: str) -> Callable[[], Any]:
        return lambda: torch.stack([THEIRS[name](image) for image in forms[name]])

    contestants: dict[str, Callable[[], Any]] = {"skinclf": lambda: AUGMENTER.augment(batch, generator)}
    contestants |= {name: image_by_image(name) for name in THEIRS}
    times = milliseconds(contestants, rounds, seconds)
    return {
        **{f"{name}_ms": round(value, 2) for name, value in times.items()},
        "ratio": round(min(times[name] for name in THEIRS) / times["skinclf"], 2),
    }


def parts(side: int, rounds: int, seconds: float) -> dict[str, float]:
    """Time the steps of `LesionAugmenter.augment` one by one, each over the whole batch in its usual portions."""
    generator = torch_generator(0)
    batch = torch.randint(0, 256, (N_IMAGES, side, side, 3), generator=generator, dtype=torch.uint8)
    batch = batch.permute(0, 3, 1, 2)
    drawn = AUGMENTER.draw(N_IMAGES, (side, side, 3), generator)
    portions = [*_slices(batch)]
    planes = [_unit_scale(batch[rows]) for rows in portions]
    move, recolor = AffineChange(drawn.affine, planes[0]), ColorChange(drawn.color, planes[0])
    grids = [move.grid(rows) for rows in portions]
    result = torch.empty_like(batch, dtype=torch.float32)

    def over(step: Callable[..., Any], *each: list[Any]) -> Callable[[], None]:
        def run() -> None:
            for values in zip(*each, strict=True):
                step(*values)

        return run

    steps: dict[str, Callable[[], Any]] = {
        "draw": lambda: AUGMENTER.draw(N_IMAGES, (side, side, 3), generator),
        "bytes to planes of floats": over(lambda rows: _unit_scale(batch[rows]), portions),
        "places of the pixels": over(move.grid, portions),
        "interpolation": over(move.interpolate, planes, grids),
        "colours": over(recolor, planes, portions),
        "planes to channels last": over(result.__setitem__, portions, planes),
        "boxes": lambda: fill_boxes(result, drawn.boxes),
    }
    return {name: round(value, 2) for name, value in milliseconds(steps, rounds, seconds).items()}


def training(side: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Compare whole training steps with and without augmentation."""
    rng, generator = np.random.default_rng(0), torch_generator(0)
    pixels = rng.integers(0, 256, (1024, side, side, 3), dtype=np.uint8)
    labels = torch.from_numpy(rng.integers(0, 7, N_IMAGES))
    network = StandardizedNetwork(lesion_cnn((side, side, 3), 7), mean=[0.5] * 3, scale=[0.2] * 3).train()
    optimizer = torch.optim.AdamW(network.parameters())

    def step(augmented: bool) -> None:
        images = torch.from_numpy(pixels[rng.permutation(1024)[:N_IMAGES]]).permute(0, 3, 1, 2)
        if augmented:
            images = AUGMENTER.augment(images, generator)
        optimizer.zero_grad()
        cross_entropy(network(images), labels).backward()
        optimizer.step()

    steps = {"training": lambda: step(False), "augmented_training": lambda: step(True)}
    times = milliseconds(steps, rounds, seconds)
    return {
        **{f"{name}_images_a_second": round(1000 * N_IMAGES / value) for name, value in times.items()},
        "training_ratio": round(times["training"] / times["augmented_training"], 3),
    }


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each contestant in each round")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    rows, steps = [], []
    for n_threads in options.threads:
        torch.set_num_threads(n_threads)
        for side in (64, 128):
            case = {"pixels": side, "threads": n_threads}
            given = (side, options.rounds, options.seconds)
            rows.append({**case, **augmentation(*given), **training(*given)})
            steps.append({**case, "milliseconds": parts(*given)})
            print(json.dumps([rows[-1], steps[-1]], indent=2), flush=True)
    content = {
        "title": "Augmentation of a batch",
        "description": "64 images of random pixels, from uint8 to an augmented float32 batch, beside "
        "torchvision's transforms image by image, milliseconds a batch; the ratio is to the fastest of them. "
        "Training steps of lesion_cnn on such batches, with and without augmentation.",
        "rounds": options.rounds,
        "claims": [
            claim(
                "augmentation of 64 images at 64 and 128 pixels",
                "the same kinds of torchvision v2 transforms, image by image",
                worst(rows, "ratio"),
                at_least=3,
            )
        ],
        "rows": rows,
        "parts": steps,
    }
    write_result(options.output, content, torchvision=torchvision.__version__)


if __name__ == "__main__":
    main()
