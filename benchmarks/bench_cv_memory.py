"""Peak memory of a cross-validation, beside the uint8 array of its images.

    python benchmarks/bench_cv_memory.py --data folder --output docs/results/cv_memory.json

`skinclf.evaluation.cross_validate` with five folds by lesion, 10,015 images at 128 pixels, `lesion_cnn` as it is
by default, standard augmentation, one epoch a fold (more need no more memory), in a process of its own. Three ways
to pass the images: as paths with a ``cache_dir``, whose pixels all folds share; as paths alone; and as one array,
of which scikit-learn copies the training part of each fold. Sampled from outside: the memory of the process, where
a page that several share counts once (PSS). The limit is 1.3 times the uint8 array and 500 MB. What a process
takes that has imported the library and made one optimiser is told apart: most of it is torch, of which a build for
CUDA takes several times what one for the CPU does.

SKINCLF_DATA says where HAM10000 is, unless --data does; without either, 2,000 painted images are used. Linux only,
since it reads /proc. All of HAM10000 takes some ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _process_memory import MB, memory, sample_until_end
from _rounds import claim, write_result

WAYS = ("paths_with_cache", "paths", "array")
FOLDS = 5
FACTOR, MB_BESIDE = 1.3, 500
N_PAINTED = 2000


def cross_validate_once(options: argparse.Namespace) -> None:
    """Run one cross-validation, in a process of its own; print its size as JSON."""
    import torch
    from _painted import paint_files

    from skinclf import LesionCNNClassifier
    from skinclf.datasets import load_ham10000
    from skinclf.evaluation import cross_validate
    from skinclf.preprocessing import ImageLoader

    if options.data:
        lesions = load_ham10000(options.data)
        paths, y, groups = lesions.data["image"].tolist(), lesions.target, lesions.groups
    else:
        paths, y = paint_files(Path(options.folder), N_PAINTED)
        groups = None
    torch.optim.AdamW(torch.nn.Linear(1, 1).parameters())  # with its first optimiser torch imports its compiler
    print(json.dumps({"after_imports": memory(os.getpid())["Pss"], "images": len(paths)}), flush=True)
    X: Any = ImageLoader(options.size).transform(paths) if options.way == "array" else paths
    classifier = LesionCNNClassifier(
        image_size=options.size,
        cache_dir=f"{options.folder}/cache" if options.way == "paths_with_cache" else None,
        max_epochs=1,
        random_state=0,
    )
    result = cross_validate(classifier, X, y, groups=groups, cv=FOLDS)
    print(json.dumps({"folds": len(result.scores)}), flush=True)


def measure(way: str, options: argparse.Namespace) -> dict[str, Any]:
    """Start a cross-validation and sample it until it ends."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--way", way, "--folder", folder, "--size", str(options.size)]
        arguments += ["--data", options.data] if options.data else []
        started = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True
        ) as process:
            peak = sample_until_end(process)
            lines = [json.loads(line) for line in process.stdout or ()]
        if process.returncode:
            raise SystemExit(f"the cross-validation of {way} failed")
    said = lines[0] | lines[1]
    array = said["images"] * options.size**2 * 3
    return {
        "images_passed_as": way.replace("_", " "),
        "images": said["images"],
        "folds": said["folds"],
        "array_mb": round(array / MB),
        "limit_mb": round(FACTOR * array / MB + MB_BESIDE),
        "peak_mb": round(peak["total"] / MB),
        "imports_mb": round(said["after_imports"] / MB),
        "peak_beyond_imports_mb": round((peak["total"] - said["after_imports"]) / MB),
        "private_mb": round(peak["uss"] / MB),
        "run_seconds": round(time.perf_counter() - started),
    }


def claims(rows: list[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """Return the lines of the table of targets: each way of passing images, with and without the imports."""
    against = f"{FACTOR} times the uint8 array and {MB_BESIDE} MB"
    what = f"peak memory of a {FOLDS}-fold cross-validation, {rows[0]['images']:,} images at {size} pixels"
    lines = []
    for row in rows:
        work = f"{what}, passed as {row['images_passed_as']} (MB)"
        lines.append(claim(work, against, row["peak_mb"], at_most=row["limit_mb"]))
        beyond = "the same, beyond what importing torch and the library takes"
        lines.append(claim(beyond, against, row["peak_beyond_imports_mb"], at_most=row["limit_mb"]))
    return lines


def notes(rows: list[dict[str, Any]]) -> list[str]:
    """Say what the memory is taken by."""
    imports, first = max(row["imports_mb"] for row in rows), rows[0]
    sentences = [
        f"{imports:,} MB are taken by a process that has imported torch and the library and has not seen an "
        "image: most of it is torch, of which a build for CUDA takes several times what one for the CPU does.",
        f"Passed as {first['images_passed_as']}, {first['peak_beyond_imports_mb'] - first['array_mb']:,} MB are "
        "left beside the array: the network at work on a batch, forward and backward, and the C library's spare "
        "memory.",
    ]
    if any(row["images_passed_as"] == "array" for row in rows):
        sentences.append(
            "Of an array, scikit-learn copies the training part of each fold, four fifths of it. Pass paths and a "
            "cache_dir, and nothing is copied."
        )
    return sentences


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("SKINCLF_DATA"), help="folder of HAM10000")
    parser.add_argument("--size", type=int, default=128, help="side of the images in pixels")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--output", type=Path)
    for hidden in ("--way", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if sys.platform != "linux":
        print("bench_cv_memory.py reads /proc, which only Linux has: nothing was measured.")
        return
    if options.way:
        cross_validate_once(options)
        return

    rows = []
    for way in options.ways:
        rows.append(measure(way, options))
        print(json.dumps(rows[-1], indent=2), flush=True)
    first = rows[0]
    what = "HAM10000" if options.data else "painted lesions"
    content = {
        "title": "Memory of a cross-validation",
        "description": (
            f"{FOLDS} folds by lesion over {first['images']:,} images of {what}, {options.size} × {options.size} "
            "pixels, lesion_cnn, one epoch a fold. Peak: shared pages counted once (PSS); beyond imports: less "
            "what a process takes that has imported the library and made an optimiser. Limit: "
            f"{FACTOR} times the uint8 array and {MB_BESIDE} MB."
        ),
        "claims": claims(rows, options.size),
        "notes": notes(rows),
        "rows": rows,
    }
    write_result(options.output, content)


if __name__ == "__main__":
    main()
