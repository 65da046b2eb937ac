"""How fast `ImageLoader` reads and scales JPEG files, beside plain Pillow, with two threads, and from its cache.

    python benchmarks/bench_decode.py --output docs/results/decode.json

Painted JPEG files of 600 × 450 pixels, the size of the published HAM10000, are read and stretched to squares of
64, 96 and 224 pixels: smooth ones of some 40 KB, and ones with the noise of a camera in every pixel, of some 220
KB, the kind of file that a JPEG decoder has most to do with. The opponent is what one writes by hand:
``Image.open``, ``convert("RGB")``, ``resize`` with the same filter, one file after the other into one array. Then
our two threads beside our one; the second reading with a ``cache_dir`` beside the first one, which decodes, into
an empty folder every time; and ``decoder="simplejpeg"``, where it is installed, beside plain Pillow.

What bounds the first ratio is measured too: the part of the time that goes into unpacking the bits of the file
(``scale to an eighth``: a reading that does next to nothing else), which no way of reading can leave out.

All contestants take turns within each round; a ratio is the median of the rounds' ratios. A minute or two.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from _painted import HEIGHT, WIDTH, paint_files
from _rounds import claim, in_turns, median_ratio, medians, worst, write_result
from PIL import Image

from skinclf.preprocessing import ImageLoader

SIDES = (64, 96, 224)
COLUMNS = [
    "kilobytes",
    "pixels",
    "pillow_ms",
    "one_thread_ms",
    "ratio_to_pillow",
    "simplejpeg_ms",
    "two_threads_ms",
    "ratio_of_two_threads",
    "second_reading_ms",
    "ratio_of_cache",
    "unpacking_ms",
]
"""Of the table in the documentation."""


def plain_pillow(paths: list[str], side: int) -> np.ndarray:
    """Open, convert, resize."""
    images = np.empty((len(paths), side, side, 3), np.uint8)
    for row, path in enumerate(paths):
        with Image.open(path) as image:
            images[row] = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return images


def unpack(paths: list[str]) -> None:
    """Decode to an eighth of the size: opening the file and unpacking its bits, and little more."""
    for path in paths:
        with Image.open(path) as image:
            image.draft("RGB", (WIDTH // 8, HEIGHT // 8))
            image.load()


def measure(paths: list[str], side: int, cache: Path, rounds: int) -> dict[str, Any]:
    """Let all ways of reading take turns."""

    def first_reading() -> None:
        shutil.rmtree(cache, ignore_errors=True)
        cached.transform(paths)

    cached = ImageLoader(side, crop=None, cache_dir=cache)
    contestants = {
        "pillow": lambda: plain_pillow(paths, side),
        "one_thread": lambda: ImageLoader(side, crop=None).transform(paths),
        "two_threads": lambda: ImageLoader(side, crop=None, n_jobs=2).transform(paths),
        "first_reading": first_reading,
        "second_reading": lambda: cached.transform(paths),
        "unpacking": lambda: unpack(paths),
    }
    if find_spec("simplejpeg"):
        contestants["simplejpeg"] = lambda: ImageLoader(side, crop=None, decoder="simplejpeg").transform(paths)
    times = in_turns(contestants, rounds)
    theirs, ours = (images.astype(int) for images in (plain_pillow(paths, side), cached.transform(paths)))
    return {
        "kilobytes": round(sum(Path(path).stat().st_size for path in paths) / len(paths) / 1000),
        "pixels": side,
        **{f"{name}_ms": round(1000 * value / len(paths), 3) for name, value in medians(times).items()},
        "ratio_to_pillow": median_ratio(times, "pillow", "one_thread"),
        "ratio_of_simplejpeg": median_ratio(times, "pillow", "simplejpeg") if "simplejpeg" in times else None,
        "ratio_of_two_threads": median_ratio(times, "one_thread", "two_threads"),
        "ratio_of_cache": median_ratio(times, "first_reading", "second_reading"),
        "highest_possible_ratio": median_ratio(times, "pillow", "unpacking"),
        "mean_difference_of_pixels": round(float(np.abs(theirs - ours).mean()), 2),
    }


def claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the lines of the table of targets, for both kinds of file."""
    lines = []
    for size in sorted({row["kilobytes"] for row in rows}):
        of_size = [row for row in rows if row["kilobytes"] == size]
        what = f"JPEG of {WIDTH} × {HEIGHT} and {size} KB to {', '.join(map(str, SIDES))} pixels"
        opponent = "Pillow: open, convert, resize"
        lines.append(claim(f"{what}, one thread", opponent, worst(of_size, "ratio_to_pillow"), at_least=1.5))
        if of_size[0]["ratio_of_simplejpeg"] is not None:
            measured = worst(of_size, "ratio_of_simplejpeg")
            lines.append(claim('the same, decoder="simplejpeg"', opponent, measured, at_least=1.5))
        threads, cache = (worst(of_size, key) for key in ("ratio_of_two_threads", "ratio_of_cache"))
        lines.append(claim("the same, two threads", "our one thread", threads, at_least=1.8))
        lines.append(claim("the same, second reading, from the cache", "the first", cache, at_least=20))
    return lines


def notes(rows: list[dict[str, Any]]) -> list[str]:
    """Say what bounds the ratios."""
    heavy = max(rows, key=lambda row: (row["kilobytes"], -row["pixels"]))
    return [
        f"Of the {heavy['one_thread_ms']} ms that a file of {heavy['kilobytes']} KB takes at {heavy['pixels']} "
        f"pixels, {heavy['unpacking_ms']} ms go into opening it and unpacking its bits one after the other, which "
        "scaled decoding does not shorten: at "
        f"{heavy['highest_possible_ratio']} times the speed of plain Pillow no time would be left for anything "
        "else. Smaller files have fewer bits to unpack, and more to gain.",
        "Both decoders wrap libjpeg-turbo; what simplejpeg saves is Pillow's reading of the file in blocks.",
        "Two threads share one interpreter: whoever opens a file, reads its header or hands pixels over holds its "
        "lock, which changes hands several times an image. The faster a file is decoded, the more that weighs.",
    ]


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for detailed in (False, True):
            paths, _ = paint_files(Path(folder, str(detailed)), options.images, detailed=detailed)
            rows += [measure(paths, side, Path(folder, "cache"), options.rounds) for side in SIDES]
            print(json.dumps(rows[-len(SIDES) :], indent=2), flush=True)
    content = {
        "title": "Reading files",
        "description": f"{options.images} painted JPEG files of {WIDTH} × {HEIGHT} pixels, smooth or with the "
        "noise of a camera, read and stretched to a square; milliseconds an image. The ratio to Pillow is that "
        "of one thread, with Pillow as the decoder; unpacking is opening the files and unpacking their bits "
        "alone, which no reading can leave out. The file of results has the other ratios, and how far the pixels "
        "are from those of plain Pillow.",
        "rounds": options.rounds,
        "claims": claims(rows),
        "notes": notes(rows),
        "columns": COLUMNS,
        "rows": rows,
    }
    write_result(options.output, content)


if __name__ == "__main__":
    main()
