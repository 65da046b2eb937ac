"""The images that a model was most confidently wrong about: a confident mistake is the first to look at."""

from __future__ import annotations

import base64
import io

import numpy as np
import pandas as pd

from skinclf.preprocessing import ImageLoader
from skinclf.reporting._evaluation import Evaluation, Predictions, image_names
from skinclf.reporting._sections import Block, Picture, Section, Text
from skinclf.reporting._tables import Table

N_MISTAKES = 20
_SIDE = 112
_PATH_COLUMN = "image"


def mistakes_section(evaluation: Evaluation) -> Section | None:
    """List them with their names; their photos only if asked for."""
    predictions = evaluation.predictions
    if predictions.probabilities is None:
        return None
    mistakes = find_mistakes(predictions, evaluation.metrics.labels)
    n_wrong = int(np.sum(predictions.truth != predictions.answer))
    if mistakes.empty:
        return Section("Most confident mistakes", (Text(("No image was named wrongly.",)),), {"mistakes": []})
    table = Table(
        f"The {len(mistakes)} of {n_wrong:,} wrong answers that were given with the highest probability; a photo "
        "may be mislabelled, cut off, blurred or overgrown",
        ("image", "true class", "answer", "its probability", "probability of the true class", "lesion"),
        tuple(
            (
                row["image"],
                row["true_class"],
                row["answer"],
                f"{row['answer_probability']:.3f}",
                f"{row['true_probability']:.3f}",
                row["lesion"],
            )
            for row in mistakes.to_dict("records")
        ),
        kind="words",
    )
    blocks: list[Block] = [table]
    if evaluation.embed_images:
        blocks += _pictures(predictions, mistakes)
        blocks.append(
            Text(("These photos belong to their authors. Mind their licence before you hand this page on.",))
        )
    records = mistakes.drop(columns="position").to_dict("records")
    return Section("Most confident mistakes", tuple(blocks), {"n_wrong": n_wrong, "mistakes": records})


def find_mistakes(predictions: Predictions, classes: np.ndarray, n: int = N_MISTAKES) -> pd.DataFrame:
    """Return the wrong answers with the highest probability, at most n, the most confident first.

    Returns
    -------
    DataFrame
        Columns ``image``, ``lesion``, ``true_class``, ``answer``: text; ``answer_probability`` and
        ``true_probability``: what the model gave to its answer and to the truth; ``row``: where the image was in
        what was handed in; ``position``: where it is in `predictions`.
    """
    proba = predictions.probabilities
    if proba is None:
        raise ValueError("predictions hold no probabilities.")
    column = {label: number for number, label in enumerate(classes.tolist())}
    wrong = np.flatnonzero(predictions.truth != predictions.answer)
    answer = np.array([column[label] for label in predictions.answer[wrong].tolist()], dtype=np.intp)
    truth = np.array([column[label] for label in predictions.truth[wrong].tolist()], dtype=np.intp)
    order = np.argsort(-proba[wrong, answer], kind="stable")[:n]
    rows = wrong[order]
    names = image_names(predictions)
    groups = predictions.groups
    return pd.DataFrame(
        {
            "image": [names[row] for row in rows],
            "lesion": ["" if groups is None else str(groups[row]) for row in rows],
            "true_class": predictions.truth[rows].astype(str),
            "answer": predictions.answer[rows].astype(str),
            "answer_probability": proba[rows, answer[order]],
            "true_probability": proba[rows, truth[order]],
            "row": predictions.rows[rows],
            "position": rows,
        }
    )


def _pictures(predictions: Predictions, mistakes: pd.DataFrame) -> list[Picture]:
    frame = predictions.frame
    if frame is None or _PATH_COLUMN not in frame.columns:
        raise ValueError(
            f"embed_images=True needs the paths of the images: pass frame= with a column {_PATH_COLUMN!r}, or "
            "embed_images=False."
        )
    paths = frame[_PATH_COLUMN].iloc[mistakes["position"]].tolist()
    pixels = ImageLoader(_SIDE, crop=None).transform(paths)
    return [
        Picture(
            _as_jpeg(image),
            _SIDE,
            f"Photo {row['image']}, class {row['true_class']}, taken for {row['answer']}",
            f"{row['image']}: {row['true_class']}, taken for {row['answer']}",
        )
        for image, row in zip(pixels, mistakes.to_dict("records"), strict=True)
    ]


def _as_jpeg(pixels: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
