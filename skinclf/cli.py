"""The command ``skinclf``: a thin shell over the library."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skinclf import __version__
from skinclf.datasets import load_ham10000, make_lesions
from skinclf.evaluation import audit_leakage, cross_validate
from skinclf.preprocessing import ImageLoader
from skinclf.reporting import NOTICE, EvaluationReport, LesionConfusionDisplay, TrainingHistoryDisplay

_PAINTED = {"max_epochs": 18, "batch_size": 32, "lr": 0.003}
"""For a thousand painted images instead of ten thousand photos: fewer, so smaller batches and larger steps."""
_DEFAULT_OUTPUT = Path("skinclf_demo")
_FILES = ("report.html", "report.json", "confusion_matrix.png", "training_curves.png")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the name of the program; ``sys.argv[1:]`` by default.

    Returns
    -------
    int
        0 after success, 1 after an error whose message was printed.
    """
    options = _parser().parse_args(arguments)
    try:
        _check_numbers(options)
        options.run(options)
    except (ValueError, OSError) as error:
        print(f"skinclf: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nskinclf: stopped; nothing was written.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skinclf", description="Classify dermatoscopic images of skin lesions.", epilog=NOTICE
    )
    parser.add_argument("--version", action="version", version=f"skinclf {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    demo = commands.add_parser(
        "demo",
        help="cross-validate a network by lesion, and write a report",
        description="Cross-validate LesionCNNClassifier by lesion with early stopping; print a report, and write "
        "it as an HTML page, as JSON and as figures. Without real images it uses painted ones.",
        epilog=NOTICE,
    )
    demo.add_argument(
        "--data",
        type=Path,
        help="folder of HAM10000 (default: what SKINCLF_DATA says, if it is set)",
    )
    demo.add_argument("--output", type=Path, help=f"folder to write to (default: {_DEFAULT_OUTPUT})")
    demo.add_argument("--overwrite", action="store_true", help="replace files that are in --output already")
    demo.add_argument("--folds", type=int, default=5, help="number of folds (default: 5)")
    demo.add_argument("--epochs", type=int, help="epochs a fold at most (default: 18 on painted images, else 50)")
    demo.add_argument("--lesions", type=int, help="number of painted lesions (default: 700)")
    demo.add_argument("--seed", type=int, default=0, help="random state of folds and network (default: 0)")
    demo.set_defaults(run=_demo)
    return parser


def _check_numbers(options: argparse.Namespace) -> None:
    """Refuse numbers that would fail later, by the names that the user typed."""
    for name, lowest in [("folds", 2), ("epochs", 1), ("lesions", 7), ("seed", 0)]:
        value = getattr(options, name)
        if value is not None and value < lowest:
            raise ValueError(f"--{name} must be at least {lowest}; got {value}.")
    if options.lesions is not None and options.data is not None:
        raise ValueError("--lesions is for painted images; it cannot be combined with --data.")


def _demo(options: argparse.Namespace) -> None:
    output = _check_output(options.output, overwrite=options.overwrite)
    print(NOTICE)
    lesions, images, description = _demo_images(options)
    print(f"{description}\n", flush=True)

    from skinclf.estimator import LesionCNNClassifier  # torch is imported here, when it is needed

    started = time.perf_counter()
    classifier = LesionCNNClassifier(random_state=options.seed, verbose=1)
    if "images" in lesions:
        classifier.set_params(**_PAINTED)
    if options.epochs is not None:
        classifier.set_params(max_epochs=options.epochs)
    result = cross_validate(
        classifier,
        images,
        lesions.target,
        groups=lesions.groups,
        cv=options.folds,
        random_state=options.seed,
    )
    report = EvaluationReport.from_cross_validation(
        result,
        frame=lesions.frame,
        audit=audit_leakage(images, lesions.target, splits=result),
        title=f"{options.folds}-fold cross-validation by lesion",
        description=description,
    )
    print(f"\n{report}\n")

    for name in _FILES[:2]:
        report.save(output / name, overwrite=True)
    figures = [
        LesionConfusionDisplay.from_cross_validation(result).plot().figure_,
        TrainingHistoryDisplay.from_cross_validation(result).plot().figure_,
    ]
    for name, figure in zip(_FILES[2:], figures, strict=True):
        figure.savefig(output / name, dpi=120, bbox_inches="tight")
    print(f"{time.perf_counter() - started:.0f} seconds. Written to {output}{os.sep}: {', '.join(_FILES)}")


def _check_output(output: Path | None, *, overwrite: bool) -> Path:
    """Refuse to replace files before the work begins, not after it; the default folder is the demo's own."""
    if output is None:
        output, overwrite = _DEFAULT_OUTPUT, True
    existing = [name for name in _FILES if (output / name).exists()]
    if existing and not overwrite:
        raise FileExistsError(
            f"{output} has {', '.join(existing)} already. Pass --overwrite, or another --output."
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"--output {output} cannot be a folder to write to: {error.strerror}.") from error
    return output


def _demo_images(options: argparse.Namespace) -> tuple[Any, Any, str]:
    """Return the data set, its images as one uint8 array, and what they are in a sentence."""
    if options.data is None and "SKINCLF_DATA" not in os.environ:
        n_lesions = options.lesions or 700
        lesions = make_lesions(n_lesions, images_per_lesion=2, random_state=options.seed)
        print("Painted images, not real ones. For HAM10000 set SKINCLF_DATA, or pass --data.")
        description = f"Painted images of {n_lesions} lesions, drawn by make_lesions; not medical data."
        return lesions, lesions.images, description
    lesions = load_ham10000(options.data)
    images = ImageLoader(64, n_jobs=-1).transform(lesions.data)
    return lesions, images, f"HAM10000 at 64 × 64 pixels: {len(images)} images, decoded once."
