"""Peak memory of a grid search over image files: one array of pixels, however many processes search.

    python benchmarks/bench_search_memory.py --data folder --output docs/results/search_memory.json

A GridSearchCV of `LesionCNNClassifier(cache_dir=..., max_epochs=2)` with two candidates, three folds by lesion and
a refit, once with one worker and once with two, each in a process of its own with an empty cache. Sampled from
outside: the memory of all its processes, where a page that several share counts once (the sum of their PSS), and
the largest single process, with shared pages (RSS) and without (USS). The limit is the uint8 array and 500 MB a
worker. What a process takes that has imported the library and made one optimiser is told apart: most of it is
torch, of which a build for CUDA takes several times what one for the CPU does. The index of the cache says how
many files were decoded.

SKINCLF_DATA says where HAM10000 is, unless --data does; without either, painted lesions are searched. Linux only,
since it reads /proc. All of HAM10000 at 64 pixels takes some minutes on two cores.
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

WORKERS = (1, 2)
MB_A_WORKER = 500
RECORD_BYTES = 32
"""Of the index of a cache: one record for each file that was decoded."""


def search(options: argparse.Namespace) -> None:
    """Run one search, in a process of its own; print its size and score as JSON."""
    import torch
    from PIL import Image
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold

    from skinclf import LesionCNNClassifier
    from skinclf.datasets import load_ham10000, make_lesions

    if options.data:
        lesions = load_ham10000(options.data)
        data = lesions.data
    else:
        lesions = make_lesions(n_lesions=(options.images or 1000) // 2, random_state=0)
        data = lesions.data.assign(image=[f"{options.folder}/{row}.png" for row in range(len(lesions.images))])
        for path, image in zip(data["image"], lesions.images, strict=True):
            Image.fromarray(image).save(path)
        del lesions["images"], image
    rows = slice(None, None, -(-len(data) // (options.images or len(data))))
    X, y, groups = data.iloc[rows], lesions.target[rows], lesions.groups[rows]
    classifier = LesionCNNClassifier(
        image_size=options.size, cache_dir=f"{options.folder}/cache", max_epochs=2, random_state=0
    )
    grid = GridSearchCV(
        classifier,
        {"lr": [0.001, 0.002]},
        scoring="balanced_accuracy",
        cv=StratifiedGroupKFold(3, shuffle=True, random_state=0),
        n_jobs=options.workers,
        error_score="raise",
    )
    torch.optim.AdamW(torch.nn.Linear(1, 1).parameters())  # with its first optimiser torch imports its compiler
    print(json.dumps({"after_imports": memory(os.getpid())["Pss"], "images": len(X)}), flush=True)
    grid.fit(X, y, groups=groups)
    print(json.dumps({"score": grid.best_score_}), flush=True)


def measure(workers: int, options: argparse.Namespace) -> dict[str, Any]:
    """Start a search, sample it until it ends, and count what it decoded."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--search", "--workers", workers, "--folder", folder, "--size", options.size]
        arguments += ["--images", options.images] if options.images else []
        arguments += ["--data", options.data] if options.data else []
        command = [sys.executable, __file__, *map(str, arguments)]
        started = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            peak = sample_until_end(process)
            lines = [json.loads(line) for line in process.stdout or ()]
        if process.returncode:
            raise SystemExit(f"the search with {workers} workers failed")
        said = lines[0] | lines[1]
        (index,) = Path(folder, "cache").glob("*/index.bin")
        decoded = index.stat().st_size / RECORD_BYTES
    array = said["images"] * options.size**2 * 3
    n_processes = workers + (workers > 1)  # the one that hands out the work imports the library as well
    imports = n_processes * said["after_imports"]
    return {
        "workers": workers,
        "images": said["images"],
        "files_decoded": int(decoded) if decoded.is_integer() else decoded,
        "array_mb": round(array / MB),
        "limit_mb": round(array / MB + workers * MB_A_WORKER),
        "peak_mb": round(peak["total"] / MB),
        "imports_of_all_processes_mb": round(imports / MB),
        "peak_beyond_imports_mb": round((peak["total"] - imports) / MB),
        "largest_process_rss_mb": round(peak["rss"] / MB),
        "largest_process_uss_mb": round(peak["uss"] / MB),
        "search_seconds": round(time.perf_counter() - started),
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print what was measured, a column for each number of workers."""
    for name in rows[0]:
        print(f"{name.replace('_', ' '):30}", *(f"{row[name]:>10,}" for row in rows))
    for row in rows:
        within = {name: row[name] <= row["limit_mb"] for name in ("peak_mb", "peak_beyond_imports_mb")}
        print(
            f"{row['workers']} worker(s): {'within' if within['peak_mb'] else 'ABOVE'} the limit, "
            f"{'within' if within['peak_beyond_imports_mb'] else 'ABOVE'} it without imports; "
            f"{'each file' if row['files_decoded'] == row['images'] else 'NOT each file'} decoded once"
        )


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("SKINCLF_DATA"), help="folder of HAM10000")
    parser.add_argument("--images", type=int, help="at most so many, spread evenly; all by default")
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    parser.add_argument("--output", type=Path)
    for hidden in ("--search", "--workers", "--folder"):
        kind: dict[str, Any] = {"action": "store_true"} if hidden == "--search" else {}
        parser.add_argument(hidden, help=argparse.SUPPRESS, **kind)
    options = parser.parse_args()
    if sys.platform != "linux":
        print("bench_search_memory.py reads /proc, which only Linux has: nothing was measured.")
        return
    if options.search:
        options.workers = int(options.workers)
        search(options)
        return

    rows = [measure(workers, options) for workers in WORKERS]
    print_table(rows)
    if options.output:
        from skinclf.reporting._provenance import collect_provenance

        what = "HAM10000" if options.data else "painted lesions"
        arguments = sys.argv[1:]
        if "--data" in arguments:  # where the images lie on this machine tells nobody anything
            arguments[arguments.index("--data") + 1] = "folder"
        content = {
            "title": "Memory of a grid search",
            "description": (
                f"GridSearchCV over {rows[0]['images']:,} images of {what}, {options.size} × {options.size} "
                "pixels: two candidates, three folds by lesion, a refit, two epochs each. Peak: the processes "
                "together, shared pages counted once (PSS); beyond imports: less what as many processes take that "
                "have imported the library and made an optimiser. Limit: the uint8 array and 500 MB a worker."
            ),
            "command": " ".join(["python benchmarks/bench_search_memory.py", *arguments]),
            **vars(collect_provenance()),
            "rows": rows,
        }
        options.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
