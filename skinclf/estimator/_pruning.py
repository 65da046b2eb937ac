"""Searches with Optuna that give up a bad candidate after a few epochs."""

from __future__ import annotations

from typing import Any, Self

from skorch.callbacks import Callback

from skinclf.estimator._callbacks import HIGHER_IS_BETTER

_FITS = "skinclf_fits"
_PRUNED = "skinclf_pruned"
_DIRECTIONS = {**HIGHER_IS_BETTER, "train_loss": False}


class TrialPruning(Callback):
    """Report a score to an Optuna trial after every epoch, and end the trial when its pruner says so.

    For `callbacks` of `skinclf.LesionCNNClassifier`, in an objective that Optuna calls. Copies, which every fit
    and every clone makes, report to the same trial.

    A trial may fit several times, as a cross-validation does: the n-th fit (from 0) reports its epochs (from 1) as
    steps ``n * max_epochs + epoch``, so that the pruner compares a fold with the same fold of other trials, if
    they all have the same `max_epochs`. The user attribute ``skinclf_fits`` of the trial counts the fits. They
    must follow each other in one process: an Optuna trial cannot be in two.

    Parameters
    ----------
    trial : optuna.trial.Trial
        What Optuna gives to the objective.
    monitor : str, default="valid_loss"
        A name in the history: ``"valid_loss"``, ``"valid_balanced_accuracy"``, ``"valid_accuracy"``,
        ``"train_loss"``, or what an ``EpochScoring`` before this callback records. Of the same direction as the
        study: a study that maximises an accuracy cannot be pruned by a loss.

    Attributes
    ----------
    first_step_ : int
        The step before the first epoch of this fit.

    Examples
    --------
    >>> import optuna
    >>> from skinclf import LesionCNNClassifier
    >>> from skinclf.datasets import make_lesions
    >>> from skinclf.estimator import TrialPruning
    >>> lesions = make_lesions(n_lesions=42, image_size=16, random_state=0)
    >>> X, y, groups = lesions.images, lesions.target, lesions.groups
    >>> def objective(trial):
    ...     lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    ...     pruning = TrialPruning(trial)
    ...     classifier = LesionCNNClassifier(lr=lr, max_epochs=3, callbacks=[pruning], random_state=0)
    ...     return classifier.fit(X, y, groups=groups).history_["valid_loss"].min()
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=0.01, n_warmup_steps=2))
    >>> study.optimize(objective, n_trials=1)
    >>> study.trials[0].state.name, list(study.trials[0].intermediate_values)
    ('PRUNED', [1, 2])
    """

    def __init__(self, trial: Any, monitor: str = "valid_loss") -> None:
        self.trial = trial
        self.monitor = monitor

    def on_train_begin(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Check the trial, and find the steps of this fit.

        Parameters
        ----------
        net : skorch.NeuralNet
            That is about to be trained.
        *args, **kwargs
            Ignored.

        Raises
        ------
        TypeError
            If the trial is none, or has been left behind in another process.
        ValueError
            If the study has several objectives, or goes in the other direction than `monitor`.
        RuntimeError
            If the trial has been pruned, and somebody went on with it.
        ImportError
            If Optuna is not installed.
        """
        _import_optuna()
        if not all(
            hasattr(self.trial, name) for name in ("report", "should_prune", "set_user_attr", "user_attrs")
        ):
            raise TypeError(
                f"TrialPruning needs the trial that Optuna gives to the objective; got {self.trial!r}. A trial "
                "does not go along into another process or a file: fit with n_jobs=1 inside an objective."
            )
        self._check_direction()
        if self.trial.user_attrs.get(_PRUNED):
            raise RuntimeError(
                "The trial has been pruned in an earlier fit, and its objective went on. With scikit-learn's "
                'cross-validation, set error_score="raise", so that TrialPruned reaches Optuna.'
            )
        fits = self.trial.user_attrs.get(_FITS, 0)
        self.trial.set_user_attr(_FITS, fits + 1)
        self.first_step_ = fits * net.max_epochs

    def on_epoch_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Report the score of the epoch.

        Parameters
        ----------
        net : skorch.NeuralNet
            With the score in its history.
        *args, **kwargs
            Ignored.

        Raises
        ------
        optuna.TrialPruned
            If the pruner gives the trial up.
        """
        epoch, score = net.history[-1, "epoch"], net.history[-1, self.monitor]
        self.trial.report(float(score), self.first_step_ + epoch)
        if self.trial.should_prune():
            self.trial.set_user_attr(_PRUNED, True)
            raise _import_optuna().TrialPruned(
                f"{self.monitor}={score:.4g} after epoch {epoch} of {net.max_epochs}."
            )

    def _check_direction(self) -> None:
        study = getattr(self.trial, "study", None)  # a FixedTrial has none
        if study is None:
            return
        directions = [direction.name for direction in study.directions]
        if len(directions) > 1:
            raise ValueError(f"TrialPruning needs a study of one objective; this one has {len(directions)}.")
        maximises = directions[0] == "MAXIMIZE"
        if _DIRECTIONS.get(self.monitor, maximises) != maximises:
            instead = "valid_balanced_accuracy" if maximises else "valid_loss"
            raise ValueError(
                f"TrialPruning would report {self.monitor!r} to a study with direction={directions[0].lower()!r}, "
                f"whose pruner would end the best trials. Set monitor={instead!r}, or the direction of the study."
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__sklearn_clone__()  # a copied trial would report to a copied study

    def __sklearn_clone__(self) -> Self:
        new: Self = object.__new__(type(self))
        for name, value in vars(self).items():
            if not name.endswith("_"):
                setattr(new, name, value)
        return new

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "trial": None}


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ImportError('TrialPruning needs Optuna: pip install "skinclf[search]".') from error
    return optuna
