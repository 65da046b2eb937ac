"""Memory of a process and all that descend from it, sampled from outside; Linux only, since it reads /proc."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

MB = 10**6
SECONDS_BETWEEN_SAMPLES = 0.05


def memory(process: int) -> dict[str, int]:
    """Return the fields of a process's smaps_rollup in bytes; nothing if it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}


def process_tree(root: int) -> list[int]:
    """Return a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(folder.name))
    tree = [root]
    for process in tree:  # grows while it is walked
        tree += children.get(process, [])
    return tree


def sample_until_end(process: subprocess.Popen[str]) -> dict[str, int]:
    """Return the highest sum of PSS, RSS and USS of a process, in bytes, that any sample saw."""
    peak = {"total": 0, "rss": 0, "uss": 0}
    while process.poll() is None:
        samples = [memory(pid) for pid in process_tree(process.pid)]
        samples = [sample for sample in samples if sample]
        if samples:
            now = {
                "total": sum(sample["Pss"] for sample in samples),
                "rss": max(sample["Rss"] for sample in samples),
                "uss": max(sample["Private_Clean"] + sample["Private_Dirty"] for sample in samples),
            }
            peak = {name: max(peak[name], now[name]) for name in peak}
        time.sleep(SECONDS_BETWEEN_SAMPLES)
    return peak
