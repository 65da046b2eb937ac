"""
HAM10000: photos of one lesion under two names
==============================================

``lesion_id`` says which photos of HAM10000 show the same lesion, and it does not say it of all of them. This
script compares all 50 million pairs of images by their look: as they are, turned and flipped, and one of them
zoomed in. It lists the pairs that look the same under different names, measures how often a pair of different
lesions does so by chance, and how much a copy may be changed and is still found.

Run it with ``SKINCLF_DATA`` set to the folder of HAM10000::

    python examples/ham10000_duplicates.py --output docs/results/ham10000_duplicates.json

It takes some minutes on one CPU core. With ``--sheet folder`` it also writes the pairs as images, side by side, to
be looked at; they belong to HAM10000 (CC BY-NC 4.0) and are not to be published.

This is research code. It is not a medical device.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from skinclf.datasets import load_ham10000
from skinclf.evaluation import _perceptual_hash as perceptual
from skinclf.preprocessing import ImageLoader
from skinclf.reporting._provenance import collect_provenance

SIZE = (128, 96)
"""Width and height in pixels at which images are compared; HAM10000 has photos of 4 : 3."""

ZOOMS = (1.0, 0.92, 0.85, 0.78, 0.72, 0.66, 0.6, 0.55, 0.5)
SHIFTS = (-0.07, 0.0, 0.07)
"""Parts of an image that are compared with whole images: their side, and how far off the centre they are."""

NEAR = perceptual.MAX_DISTANCE
ZOOMED = 48
"""Bits of 256: what `audit_leakage` calls a near-duplicate, and what is registered here."""

SAME_TEXTURE = 0.5
"""Correlation of the details of two registered images from which they are looked at; see `register`."""

THRESHOLDS = (8, 16, 24, 32, 36, 40, 48)

THE_SAME = {
    ("ISIC_0025226", "ISIC_0030074"): "the same photo, other colours",
    ("ISIC_0027027", "ISIC_0029036"): "the same photo, other colours",
    ("ISIC_0024715", "ISIC_0032402"): "the same lesion, zoomed in",
    ("ISIC_0025051", "ISIC_0031838"): "the same lesion, zoomed in",
    ("ISIC_0028014", "ISIC_0032102"): "the same lesion, zoomed in",
    ("ISIC_0032740", "ISIC_0034283"): "the same lesion, zoomed in",
    ("ISIC_0032800", "ISIC_0033898"): "the same lesion, zoomed in",
    ("ISIC_0032900", "ISIC_0033622"): "the same lesion, zoomed in",
    ("ISIC_0033228", "ISIC_0034164"): "the same lesion, zoomed in",
    ("ISIC_0033751", "ISIC_0034266"): "the same lesion, zoomed in",
}
"""What was seen, side by side, of the pairs that are listed."""

DIFFERENT = """
    0024642-0032590 0024642-0032966 0025647-0026022 0025689-0033320 0026660-0029194 0026834-0031598
    0026834-0032590 0027198-0027848 0027757-0032082 0027948-0031059 0028109-0030890 0028380-0034301
    0029103-0033463 0029103-0034039 0031059-0032966 0032612-0033743 0032786-0033191 0032786-0033901
    0033191-0033625 0033191-0033755 0033253-0033852 0033320-0033763 0033755-0033769 0033755-0033897
    0033852-0034301
"""
"""Pairs that are listed, looked at in the same way, and show different lesions as far as can be seen."""


def looked_at(first: str, second: str) -> str:
    if f"{first[5:]}-{second[5:]}" in DIFFERENT.split():
        return "different lesions"
    return THE_SAME.get((first, second), "not looked at")


def read_grey(paths: list[str]) -> np.ndarray:
    images = [np.asarray(Image.open(path).convert("L").resize(SIZE, Image.Resampling.BOX)) for path in paths]
    return np.stack(images)


def hashes_of(grey: np.ndarray) -> np.ndarray:
    return perceptual.perceptual_hashes(grey[..., np.newaxis])


# %%
# Pairs that look the same
# ------------------------


def all_distances(first: np.ndarray, second: np.ndarray):
    """Yield rows of `first` in blocks, and their distances from all of `second`, turned and flipped as fits."""
    turned = perceptual._transposed(second)
    for start in range(0, len(first), 16):
        block = first[start : start + 16, np.newaxis]
        distance = perceptual._mirrored_distance(block, second[np.newaxis])
        yield start, np.minimum(distance, perceptual._mirrored_distance(block, turned[np.newaxis]))


def count_distances(hashes: np.ndarray, lesions: np.ndarray) -> np.ndarray:
    """Count the pairs of different lesions by their distance."""
    counts = np.zeros(257, dtype=np.int64)
    for start, distance in all_distances(hashes, hashes):
        rows = np.arange(start, start + len(distance))
        other = (lesions[rows, np.newaxis] != lesions) & (rows[:, np.newaxis] < np.arange(len(lesions)))
        counts += np.bincount(distance[other], minlength=257)
    return counts


def zoomed_views(grey: np.ndarray):
    """Yield parts of all images, with their box in pixels."""
    width, height = SIZE
    for zoom in ZOOMS:
        for across in SHIFTS:
            for down in SHIFTS:
                if max(abs(across), abs(down)) <= (1 - zoom) / 2:
                    left, top = round(width * ((1 - zoom) / 2 + across)), round(height * ((1 - zoom) / 2 + down))
                    box = (left, top, left + round(width * zoom), top + round(height * zoom))
                    yield box, grey[:, box[1] : box[3], box[0] : box[2]]


def find_candidates(grey: np.ndarray, hashes: np.ndarray, lesions: np.ndarray) -> dict[tuple[int, int], tuple]:
    """Return pairs of different lesions that look the same, one zoomed in perhaps: distance, row and box."""
    found: dict[tuple[int, int], tuple] = {}
    for box, views in zoomed_views(grey):
        for start, distance in all_distances(hashes_of(views), hashes):
            rows, others = np.nonzero(distance <= ZOOMED)
            for row, other in zip(rows + start, others, strict=True):
                if lesions[row] != lesions[other]:
                    pair = (int(min(row, other)), int(max(row, other)))
                    candidate = (int(distance[row - start, other]), int(row), box)
                    found[pair] = min(found.get(pair, candidate), candidate)
    return found


# %%
# Are the details the same?
# -------------------------
# Small lesions on bare skin look alike. The details of the skin do not: hairs, dots, the grain.


def details(image: np.ndarray) -> np.ndarray:
    """Return what is left of an image without its 5 × 5 mean, limited so that no edge counts for all."""
    values = np.pad(image.astype(np.float32), 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(values, (5, 5))
    left = image - windows.mean(axis=(2, 3))
    left = np.clip(left / (3 * np.abs(left).mean() + 1e-6), -1, 1)
    return (left - left.mean()) / (left.std() + 1e-6)


def register(zoomed: np.ndarray, whole: np.ndarray, box: tuple[int, int, int, int]) -> float:
    """Return the highest correlation of details when the box moves and grows a little, and under mirrorings."""
    small = (64, 48)
    source = Image.fromarray(zoomed)
    target = details(np.asarray(Image.fromarray(whole).resize(small, Image.Resampling.BOX)))
    mirrored = [target, target[::-1], target[:, ::-1], target[::-1, ::-1]]

    def best_of(centre: tuple[float, float], size: tuple[float, float], step: float, growths: tuple[float, ...]):
        best = (-1.0, centre, size)
        for growth, across, down in itertools.product(growths, (-2, -1, 0, 1, 2), (-2, -1, 0, 1, 2)):
            (x, y), (width, height) = centre, (size[0] * growth, size[1] * growth)
            x, y = x + step * across, y + step * down
            moved = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            if min(moved[:2]) >= 0 and moved[2] <= SIZE[0] and moved[3] <= SIZE[1]:
                view = details(np.asarray(source.resize(small, Image.Resampling.BILINEAR, box=moved)))
                found = max(float((view * other).mean()) for other in mirrored)
                best = max(best, (found, (x, y), (width, height)))
        return best

    centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    _, centre, size = best_of(centre, (box[2] - box[0], box[3] - box[1]), 2, (0.94, 1.0, 1.06))
    return best_of(centre, size, 0.5, (0.97, 1.0, 1.03))[0]


# %%
# How much may a copy be changed?
# -------------------------------


def encoded(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def scaled(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def cut(image: Image.Image, share: float) -> Image.Image:
    across, down = round(image.width * share), round(image.height * share)
    return image.crop((across, down, image.width - across, image.height - down))


CHANGES = {
    "re-encoded, JPEG quality 90": lambda image: encoded(image, 90),
    "re-encoded, JPEG quality 50": lambda image: encoded(image, 50),
    "re-encoded, JPEG quality 30": lambda image: encoded(image, 30),
    "re-encoded, JPEG quality 10": lambda image: encoded(image, 10),
    "scaled to a half": lambda image: scaled(image, 0.5),
    "scaled to a quarter": lambda image: scaled(image, 0.25),
    "scaled to twice the size": lambda image: scaled(image, 2),
    "flipped": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned by a quarter": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "15 % brighter": lambda image: image.point(lambda value: min(255, round(1.15 * value))),
    "turned, flipped, scaled to 70 %, re-encoded at 50": lambda image: encoded(
        scaled(image.transpose(Image.Transpose.TRANSVERSE), 0.7), 50
    ),
    "cut by 1 % on each side": lambda image: cut(image, 0.01),
    "cut by 3 % on each side": lambda image: cut(image, 0.03),
    "turned by 3 degrees": lambda image: image.rotate(3, Image.Resampling.BICUBIC),
}


def measure_recall(paths: list[str]) -> list[dict]:
    """Return for each change the share of images that are still near-duplicates of their originals."""

    def thumbnail(image: Image.Image) -> np.ndarray:
        return np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR))  # as audit_leakage reads files

    originals = [Image.open(path).convert("RGB") for path in paths]
    hashes = perceptual.perceptual_hashes(np.stack([thumbnail(image) for image in originals]))
    rows = []
    for name, change in CHANGES.items():
        changed = perceptual.perceptual_hashes(np.stack([thumbnail(change(image)) for image in originals]))
        distance = perceptual.hash_distance(hashes, changed)
        rows.append(
            {
                "change": name,
                "images": len(paths),
                "found": f"{100 * np.mean(distance <= NEAR):.1f} %",
                "median_distance": int(np.median(distance)),
                "largest_distance": int(distance.max()),
            }
        )
    return rows


def write_sheet(folder: Path, pairs: list[dict], paths: dict[str, str]) -> None:
    """Write the pairs as images, to be looked at."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in range(0, len(pairs), 24):
        sheet = Image.new("RGB", (4 * 420, 6 * 175), "white")
        draw = ImageDraw.Draw(sheet)
        for place, pair in enumerate(pairs[page : page + 24]):
            left, top = place % 4 * 420, place // 4 * 175
            for side, name in enumerate(("first", "second")):
                image = Image.open(paths[pair[name]]).convert("RGB").resize((200, 150))
                sheet.paste(image, (left + 204 * side, top + 18))
            words = f"{page + place}: {pair['first']} {pair['second']} {pair['bits']} bits {pair['details']:.2f}"
            draw.text((left, top + 3), words, fill="black")
        sheet.save(folder / f"pairs_{page // 24}.png")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, default=Path("ham10000_duplicates.json"))
    parser.add_argument("--sheet", type=Path, help="folder for images of the pairs")
    options = parser.parse_args()
    lesions = load_ham10000()
    frame, paths = lesions.frame, lesions.data["image"].tolist()
    grey, groups = read_grey(paths), lesions.groups
    hashes = hashes_of(grey)
    as_audited = perceptual.perceptual_hashes(ImageLoader(64, crop=None).transform(lesions.data))
    counts = count_distances(as_audited, np.unique(groups, return_inverse=True)[1])
    candidates = find_candidates(grey, hashes, groups)
    print(f"{len(candidates)} candidates")
    ids, dx = frame["image_id"].to_numpy(), frame["dx"].to_numpy()
    pairs = []
    for (one, other), (bits, zoomed, box) in sorted(candidates.items()):
        correlation = register(grey[zoomed], grey[one + other - zoomed], box)
        as_it_is = int(perceptual.hash_distance(as_audited[[one]], as_audited[[other]])[0])
        if correlation >= SAME_TEXTURE or as_it_is <= NEAR:
            names = (str(ids[one]), str(ids[other]))
            pairs.append(
                {
                    "first": names[0],
                    "second": names[1],
                    "lesions": f"{groups[one]}, {groups[other]}",
                    "labels": f"{dx[one]}, {dx[other]}",
                    "bits": as_it_is,
                    "zoom": round((box[2] - box[0]) / SIZE[0], 2),
                    "bits_zoomed": bits,
                    "details": round(correlation, 2),
                    "looked_at": looked_at(*names),
                }
            )
    pairs.sort(key=lambda pair: -pair["details"])
    if options.sheet:
        write_sheet(options.sheet, pairs, dict(zip(ids.tolist(), paths, strict=True)))
    is_real = [pair for pair in pairs if pair["looked_at"].startswith("the same")]
    n_pairs = int(counts.sum())
    alarms = []
    for threshold in THRESHOLDS:
        real = sum(pair["bits"] <= threshold for pair in is_real)
        false = int(counts[: threshold + 1].sum()) - real
        alarms.append(
            {"bits": threshold, "pairs": n_pairs, "false": false, "in_a_million": f"{1e6 * false / n_pairs:.2g}"}
        )
    generator = np.random.default_rng(0)
    sample = [paths[row] for row in sorted(generator.choice(len(paths), 500, replace=False))]
    provenance = collect_provenance()
    content = {
        "title": "HAM10000: one lesion under two names",
        "description": (
            "Pairs of images of HAM10000 whose lesion_id differs and that look the same: as they are, or one of "
            "them zoomed in. bits: distance of the perceptual hashes as audit_leakage sees it, of 256; zoom: how "
            "much of one of them was compared; details: correlation of the details after registration; looked at: "
            "what is seen with the two side by side."
        ),
        "command": " ".join(["python examples/ham10000_duplicates.py", *sys.argv[1:]]),
        "date": provenance.date,
        "versions": dict(provenance.versions),
        "machine": dict(provenance.machine),
        "image_size": list(Image.open(paths[0]).size),
        "rows": pairs,
        "false_alarms": alarms,
        "recall": measure_recall(sample),
        "n_real": len(is_real),
        "n_candidates": len(candidates),
    }
    options.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
