"""What transformers of images give back under ``set_output``: a table of rows, or an array of images."""

from __future__ import annotations

from typing import Any, Self

import pandas as pd
from sklearn import get_config
from sklearn.base import TransformerMixin


class ImageOutputMixin(TransformerMixin, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """``set_output`` for transformers of images.

    scikit-learn's own would ask for a table of whatever comes out, and fail for images of four dimensions. Here
    rows become a table, and images stay an array, whatever is set.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(auto_wrap_output_keys=None, **kwargs)

    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose the container of flattened images.

        Parameters
        ----------
        transform : str, default=None
            ``"pandas"``, ``"polars"``, or ``"default"`` for an array; None leaves the choice as it was. Images of
            four dimensions are an array always.

        Returns
        -------
        estimator
            The transformer itself.

        Raises
        ------
        ValueError
            If there is no such container.
        """
        if transform not in (None, "default", "pandas", "polars"):
            raise ValueError(f"transform must be 'default', 'pandas', 'polars' or None; got {transform!r}.")
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}  # clone copies an attribute of this name
        return self

    def _as_output(self, result: Any, X: Any) -> Any:
        """Put the rows that `transform` made of ``X`` into the container that was chosen."""
        chosen = getattr(self, "_sklearn_output_config", {}).get("transform", get_config()["transform_output"])
        if chosen == "default" or result.ndim != 2:
            return result
        names = self.get_feature_names_out()
        if chosen == "pandas":
            return pd.DataFrame(result, columns=names, index=X.index if isinstance(X, pd.DataFrame) else None)
        import polars

        return polars.DataFrame(result, schema=list(names), orient="row")
