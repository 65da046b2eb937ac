"""Every figure against a value worked out by hand, and against scikit-learn where it has the figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk_metrics

from skinclf.evaluation import _confusion as confusion
from skinclf.evaluation import classification_metrics, isic_challenge_scores, null_models

# Rows are the truth: a is found 8 of 10 times, b 3 of 5, c 1 of 5.
MATRIX = np.array([[8, 1, 1], [2, 3, 0], [2, 2, 1]])


def _labels_of(matrix: np.ndarray, names: str = "abc") -> tuple[np.ndarray, np.ndarray]:
    """Labels whose confusion matrix is the given one."""
    truth, prediction = np.indices(matrix.shape).reshape(2, -1).repeat(matrix.ravel(), axis=1)
    return np.array(list(names))[truth], np.array(list(names))[prediction]


def test_hand_computed_per_class_figures() -> None:
    result = classification_metrics(*_labels_of(MATRIX))
    expected = pd.DataFrame(
        {
            "sensitivity": [8 / 10, 3 / 5, 1 / 5],
            "specificity": [6 / 10, 12 / 15, 14 / 15],  # b: 3 of 15 others taken for b; c: 1 of 15
            "ppv": [8 / 12, 3 / 6, 1 / 2],
            "npv": [6 / 8, 12 / 14, 14 / 18],
            "f1": [16 / 22, 6 / 11, 2 / 7],
            "support": [10, 5, 5],
        },
        index=["a", "b", "c"],
    )
    pd.testing.assert_frame_equal(result.per_class, expected, check_index_type=False)
    np.testing.assert_array_equal(result.confusion, MATRIX)
    assert result.labels.tolist() == ["a", "b", "c"]
    assert result.n_images == 20


def test_hand_computed_averages() -> None:
    result = classification_metrics(*_labels_of(MATRIX))
    assert result.accuracy == pytest.approx(12 / 20)
    assert result.balanced_accuracy == pytest.approx((0.8 + 0.6 + 0.2) / 3)
    assert result.averages.loc["macro", "sensitivity"] == pytest.approx(result.balanced_accuracy)
    assert result.averages.loc["weighted", "sensitivity"] == pytest.approx(result.accuracy)
    assert result.averages.loc["weighted", "ppv"] == pytest.approx((10 * 8 / 12 + 5 * 0.5 + 5 * 0.5) / 20)
    assert result.averages["support"].tolist() == [20, 20]
    assert result.to_frame().index.tolist() == ["a", "b", "c", "macro", "weighted"]


def test_agrees_with_scikit_learn_on_random_labels() -> None:
    generator = np.random.default_rng(0)
    truth = generator.choice(list("abcdefg"), 500)
    prediction = np.where(generator.random(500) < 0.6, truth, generator.choice(list("abcdefg"), 500))
    result = classification_metrics(truth, prediction)
    precision, recall, f1, support = sk_metrics.precision_recall_fscore_support(truth, prediction)
    np.testing.assert_allclose(result.per_class["ppv"], precision)
    np.testing.assert_allclose(result.per_class["sensitivity"], recall)
    np.testing.assert_allclose(result.per_class["f1"], f1)
    np.testing.assert_array_equal(result.per_class["support"], support)
    assert result.balanced_accuracy == pytest.approx(sk_metrics.balanced_accuracy_score(truth, prediction))
    np.testing.assert_array_equal(result.confusion, sk_metrics.confusion_matrix(truth, prediction))
    binary = truth == "a"
    tn, fp, fn, _ = sk_metrics.confusion_matrix(binary, prediction == "a").ravel()
    assert result.per_class.loc["a", "specificity"] == pytest.approx(tn / (tn + fp))
    assert result.per_class.loc["a", "npv"] == pytest.approx(tn / (tn + fn))


def test_class_without_images_is_undefined_and_left_out_of_the_means() -> None:
    result = classification_metrics(["a", "a", "b", "b"], ["a", "b", "b", "b"], labels=["a", "b", "c"])
    absent = result.per_class.loc["c"]
    assert np.isnan([absent["sensitivity"], absent["ppv"], absent["f1"]]).all()
    assert absent["specificity"] == 1.0
    assert absent["support"] == 0
    assert result.balanced_accuracy == pytest.approx((0.5 + 1.0) / 2)
    assert result.averages.loc["macro", "ppv"] == pytest.approx((1.0 + 2 / 3) / 2)
    assert result.averages.loc["weighted", "sensitivity"] == pytest.approx(0.75)


def test_a_single_class_has_no_specificity_and_no_warning() -> None:
    result = classification_metrics(["a", "a"], ["a", "a"], y_proba=np.ones((2, 1)))
    assert np.isnan(result.per_class.loc["a", "specificity"])
    assert np.isnan(result.per_class.loc["a", "npv"])
    assert np.isnan(result.per_class.loc["a", "roc_auc"])
    assert np.isnan(result.averages.loc["weighted", "specificity"])
    assert result.balanced_accuracy == 1.0


def test_stacked_matrices_equal_one_at_a_time() -> None:
    stack = np.random.default_rng(1).integers(0, 9, size=(5, 4, 3, 3))
    stack[0, 0, 1] = 0  # a class without images
    for measure in [*confusion.PER_CLASS.values(), *confusion.OVERALL.values(), confusion.support]:
        together = measure(stack)
        for i, j in np.ndindex(5, 4):
            np.testing.assert_array_equal(together[i, j], measure(stack[i, j]))


def test_roc_auc_by_hand_with_ties() -> None:
    # Positives score 0.9 and 0.5, negatives 0.5 and 0.1: of 4 pairs 3 are in order and 1 is tied.
    proba = np.array([[0.9, 0.1], [0.5, 0.5], [0.5, 0.5], [0.1, 0.9]])
    result = classification_metrics(["a", "a", "b", "b"], ["a", "a", "a", "b"], y_proba=proba)
    assert result.per_class["roc_auc"].tolist() == pytest.approx([3.5 / 4, 3.5 / 4])
    assert result.averages.loc["macro", "roc_auc"] == pytest.approx(3.5 / 4)


def test_roc_auc_of_an_absent_class_is_nan_and_the_others_stay() -> None:
    proba = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.6, 0.1]])
    result = classification_metrics(["a", "b", "b"], ["a", "b", "b"], y_proba=proba, labels=["a", "b", "c"])
    assert result.per_class["roc_auc"].tolist()[:2] == [1.0, 1.0]
    assert np.isnan(result.per_class.loc["c", "roc_auc"])
    assert result.averages.loc["macro", "roc_auc"] == 1.0


@pytest.mark.parametrize(
    ("truth", "prediction"),
    [
        ([3, 7, 7], [3, 3, 7]),
        ([True, False, False], [True, True, False]),
        (pd.Series(["x", "y", "y"]), pd.Series(["x", "x", "y"])),
        (pd.Categorical(["x", "y", "y"]), ["x", "x", "y"]),
        (np.array(["x", "y", "y"], dtype=object), np.array(["x", "x", "y"])),
        (np.array([[0], [1], [1]], dtype=np.int32), np.array([0, 0, 1], dtype=np.int64)),
    ],
)
def test_any_label_type(truth: object, prediction: object) -> None:
    assert classification_metrics(truth, prediction).balanced_accuracy == pytest.approx(0.75)


def test_labels_set_the_order() -> None:
    result = classification_metrics(["a", "b", "c"], ["a", "c", "c"], labels=["c", "a", "b"])
    assert result.labels.tolist() == ["c", "a", "b"]
    np.testing.assert_array_equal(result.confusion, [[1, 0, 0], [0, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y_true": ["a", None], "y_pred": ["a", "a"]}, r"y_true has no label in 1 row\(s\).*\[1\]"),
        ({"y_true": ["a", "a"], "y_pred": ["  ", "a"]}, r"y_pred has no label in 1 row\(s\).*\[0\]"),
        ({"y_true": [1.0, np.nan], "y_pred": [1, 1]}, r"y_true has no label in 1 row\(s\).*\[1\]"),
        ({"y_true": [], "y_pred": []}, "y_true is empty"),
        ({"y_true": ["a"], "y_pred": ["a", "b"]}, "y_true has 1 labels and y_pred 2"),
        ({"y_true": np.zeros((2, 2)), "y_pred": [0, 0]}, r"one-dimensional.*\(2, 2\)"),
        ({"y_true": ["a", "df"], "y_pred": ["a", "a"], "labels": ["a"]}, "y_true holds 'df' in row 1"),
        ({"y_true": ["a", "a"], "y_pred": ["a", "b"], "labels": ["a"]}, "y_pred holds 'b' in row 1"),
        ({"y_true": ["a"], "y_pred": ["a"], "labels": ["a", "a"]}, "labels names a class twice"),
        (
            {"y_true": ["a", "b"], "y_pred": ["a", "b"], "y_proba": np.ones((2, 3))},
            r"column for each of the 2 classes.*\(2, 3\).*labels=classes_",
        ),
        (
            {"y_true": ["a", "b"], "y_pred": ["a", "b"], "y_proba": [[0.5, 0.5], [np.nan, 1]]},
            r"y_proba must be finite; 1 row\(s\).*\[1\]",
        ),
        ({"y_true": ["a", "b"], "y_pred": None}, "y_pred or y_proba is needed; got neither"),
    ],
)
def test_messages(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classification_metrics(arguments.pop("y_true"), arguments.pop("y_pred"), **arguments)


def test_null_model_of_the_ham10000_counts() -> None:
    counts = {"akiec": 327, "bcc": 514, "bkl": 1099, "df": 115, "mel": 1113, "nv": 6705, "vasc": 142}
    null = null_models(np.repeat(list(counts), list(counts.values())))
    assert null.index.tolist() == ["always nv", "stratified guess"]
    assert null.loc["always nv", "accuracy"] == pytest.approx(6705 / 10015)
    assert null["balanced_accuracy"].tolist() == pytest.approx([1 / 7, 1 / 7])
    shares = np.array(list(counts.values())) / 10015
    assert null.loc["stratified guess", "accuracy"] == pytest.approx(shares @ shares)
    assert null.loc["stratified guess", "accuracy"] == pytest.approx(0.477, abs=5e-4)


def test_stratified_guess_is_what_guessing_scores_on_average() -> None:
    generator = np.random.default_rng(0)
    truth = np.repeat(["mel", "nv", "df"], [20, 70, 10])
    guesses = [classification_metrics(truth, generator.permutation(truth)) for _ in range(100)]
    null = null_models(truth).loc["stratified guess"]
    assert np.mean([guess.accuracy for guess in guesses]) == pytest.approx(null["accuracy"], abs=0.02)
    assert np.mean([guess.balanced_accuracy for guess in guesses]) == pytest.approx(
        null["balanced_accuracy"], abs=0.02
    )


def test_the_lookup_table_is_scored_beside_the_others() -> None:
    null = null_models(["mel", "nv", "nv", "nv"], lookup=["mel", "nv", "nv", "mel"])
    assert null.index.tolist() == ["always nv", "stratified guess", "lookup table"]
    assert null.loc["lookup table"].tolist() == pytest.approx([(1 + 2 / 3) / 2, 3 / 4])
    with pytest.raises(ValueError, match="y_true has 4 labels and y_pred 2"):
        null_models(["mel", "nv", "nv", "nv"], lookup=["mel", "nv"])


def test_null_model_scores_what_its_predictions_score() -> None:
    truth = np.array([3, 7, 7, 9])
    result = classification_metrics(truth, np.full(4, 7))
    null = null_models(truth).loc["always 7"]
    assert null["accuracy"] == result.accuracy
    assert null["balanced_accuracy"] == pytest.approx(result.balanced_accuracy)


def test_ties_of_the_largest_probability_are_wrong() -> None:
    # Rows: mel right; mel tied, so wrong, although a first of equals would be right; nv right; nv tied; bkl right.
    proba = [[0.1, 0.8, 0.1], [0.2, 0.4, 0.4], [0.0, 0.3, 0.7], [0.5, 0.0, 0.5], [0.6, 0.2, 0.2]]
    truth = ["mel", "mel", "nv", "nv", "bkl"]
    result = classification_metrics(truth, y_proba=proba, labels=["bkl", "mel", "nv"])
    assert result.balanced_accuracy == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert result.accuracy == pytest.approx(3 / 5)
    np.testing.assert_array_equal(result.confusion, np.diag([1, 1, 1]))
    assert result.undecided.tolist() == [0, 1, 1]
    assert result.n_images == 5
    # Undecided images are called nothing: they miss in the sensitivity, and are right negatives of other classes.
    assert result.per_class["sensitivity"].tolist() == [1, 0.5, 0.5]
    assert result.per_class["specificity"].tolist() == [1, 1, 1]
    assert result.per_class["ppv"].tolist() == [1, 1, 1]
    assert result.per_class["npv"].tolist() == pytest.approx([4 / 4, 3 / 4, 3 / 4])
    assert result.per_class["f1"].tolist() == pytest.approx([1, 2 / 3, 2 / 3])
    assert result.per_class["support"].tolist() == [1, 2, 2]


def test_without_ties_probabilities_are_their_largest() -> None:
    generator = np.random.default_rng(3)
    proba = generator.dirichlet(np.ones(4), 80)
    truth = generator.choice(list("abcd"), 80)
    from_proba = classification_metrics(truth, y_proba=proba, labels=list("abcd"))
    prediction = np.array(list("abcd"))[proba.argmax(axis=1)]
    from_labels = classification_metrics(truth, prediction, y_proba=proba, labels=list("abcd"))
    pd.testing.assert_frame_equal(from_proba.to_frame(), from_labels.to_frame())
    assert from_proba.undecided.tolist() == from_labels.undecided.tolist() == [0, 0, 0, 0]


def test_rankings_agree_with_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    truth = generator.choice(list("abc"), 200, p=[0.1, 0.3, 0.6])
    proba = np.round(generator.dirichlet(np.ones(3), 200), 2)
    result = classification_metrics(truth, y_proba=proba, labels=list("abc"))
    for column, label in enumerate("abc"):
        row = result.per_class.loc[label]
        assert row["roc_auc"] == pytest.approx(sk_metrics.roc_auc_score(truth == label, proba[:, column]))
        expected = sk_metrics.average_precision_score(truth == label, proba[:, column])
        assert row["average_precision"] == pytest.approx(expected)
    support = result.per_class["support"]
    for name in ("roc_auc", "average_precision", "auc_above_80"):
        assert result.averages.loc["macro", name] == pytest.approx(result.per_class[name].mean())
        weighted = np.average(result.per_class[name], weights=support)
        assert result.averages.loc["weighted", name] == pytest.approx(weighted)


def test_challenge_scores_by_hand() -> None:
    # Called above 0.5, not from 0.5 on: mel in row 0, nv in rows 2 and 3, nothing in row 1.
    proba = np.array([[0.7, 0.2, 0.1], [0.5, 0.1, 0.4], [0.2, 0.2, 0.6], [0.1, 0.3, 0.6]])
    scores = isic_challenge_scores(["mel", "mel", "nv", "df"], proba, labels=["mel", "df", "nv"])
    expected = pd.DataFrame(
        {
            "accuracy": [3 / 4, 3 / 4, 3 / 4],
            "sensitivity": [1 / 2, 0, 1],
            "specificity": [1, 1, 2 / 3],
            "dice": [2 / 3, 0, 2 / 3],
            "ppv": [1, 1, 1 / 2],  # df is never called: 0 / 0 counts as 1
            "npv": [2 / 3, 3 / 4, 1],
            "auc": [1, 1, 2.5 / 3],  # nv: above two of the others, and tied with one
            "auc_sens_80": [1, 1, (1 + 0.8) / 2 * 0.2 / 3 + 2 / 3],
            "ap": [1, 1, 1 / 2],
        },
        index=["mel", "df", "nv"],
    )
    pd.testing.assert_frame_equal(scores.iloc[:3, :-1], expected, check_dtype=False)
    macro = scores.loc["macro_average"]
    pd.testing.assert_series_equal(macro[:-1], expected.mean(), check_names=False)
    # The largest probability decides for balanced accuracy: mel, mel, nv, nv.
    assert macro["balanced_accuracy"] == pytest.approx((1 + 0 + 1) / 3)


@pytest.mark.parametrize(
    ("truth", "proba", "message"),
    [
        (["a", "b"], [[1.2, 0.0], [0.5, 0.5]], r"y_proba must hold probabilities, 0–1; 1 row\(s\) do not.*\[0\]"),
        (["a", "a"], [[0.8, 0.2], [0.5, 0.5]], r"y_true must hold images of each.*\['a', 'b'\] have none, or all"),
    ],
)
def test_messages_of_challenge_scores(truth: list[str], proba: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        isic_challenge_scores(truth, proba, labels=["a", "b"])
