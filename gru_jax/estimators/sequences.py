"""Estimators for labelled sequences: the net of `gru-jax train classify`.

    list of [time, channels] | [cases, time, channels] | [cases, time] -> Cases -> CLASSIFY

NaN is a missing value.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from gru_jax.app import problem as problems
from gru_jax.app.tasks.classify import CLASSIFY, ClassifyConfig
from gru_jax.app.tasks.labelled import Cases, part_cases
from gru_jax.app.tasks.task import Parts
from gru_jax.estimators.training import RandomState, as_python, check_values, draw_seed, train

Sequences = Any
"""A list of arrays `[time, channels]` or `[time]`, or an array of two or three axes."""


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class _Estimator(BaseEstimator):
    """The part that both estimators share; the settings are those of `gru-jax train classify`."""

    model: Literal["small", "medium", "large"] = "medium"
    """1 layer of 32 features in each direction, 2 of 64, or 3 of 128."""
    hidden: int | None = None
    """Features of the state in each direction; None is the model's."""
    layers: int | None = None
    """Bidirectional GRU layers; None is the model's."""
    reset: Literal["before", "after"] = "before"
    """Whether the reset gate acts before or after the product with the state."""
    noise: float = ClassifyConfig.noise
    """Standard deviation of the noise on the standardised inputs, in training."""
    dropout: float = ClassifyConfig.dropout
    """Share of features dropped between layers and before the head, in training."""
    epochs: int = ClassifyConfig.epochs
    """Passes over the training data, at most."""
    patience: int = ClassifyConfig.patience
    """Epochs without a better validation, after which training stops."""
    batch: int = ClassifyConfig.batch
    """Sequences in a batch."""
    learning_rate: float = ClassifyConfig.learning_rate
    """Rate at the end of the warm-up; it then falls to zero along a cosine."""
    weight_decay: float = ClassifyConfig.weight_decay
    """Decoupled weight decay of AdamW."""
    validation: float = ClassifyConfig.validation
    """Share of the training data that chooses the best epoch."""
    random_state: RandomState = 0
    """Seeds the split, the parameters, the order of the data, and the noise."""

    def __sklearn_tags__(self) -> Any:
        """Returns the tags of accepted inputs: three axes, and missing values."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        return tags

    def _train(self, xs: list[np.ndarray], targets: np.ndarray, classes: tuple[str, ...]) -> None:
        settings: dict[str, Any] = as_python(self.get_params())
        seed = draw_seed(settings.pop("random_state"))
        config = ClassifyConfig(seed=seed, **settings)
        channels = tuple(f"channel {i + 1}" for i in range(xs[0].shape[1]))
        cases = Cases(xs, targets, channels, classes)
        training, validation = part_cases(cases, config.validation, config.seed)
        if not validation.xs:  # A case of each class is too few to part.
            validation = training
        task = CLASSIFY._replace(load=lambda _: Parts(training, validation, validation))
        _, trained, self.history_ = train(type(self).__name__, task, config)
        _, self._config, self.facts_, self.net_, self.params_ = trained

    def _answer(self, X: Sequences) -> np.ndarray:
        check_is_fitted(self, "params_")
        xs = self._read(X, reset=False)
        channels, classes = tuple(self.facts_["channels"]), tuple(self.facts_["classes"])
        cases = Cases(xs, np.zeros(len(xs), np.int32 if classes else float), channels, classes)
        trained = problems.Trained(CLASSIFY, self._config, self.facts_, self.net_, self.params_)
        return problems.answer(trained, CLASSIFY.prepare(self.facts_, cases))

    def _pair(
        self, X: Sequences, y: Any
    ) -> tuple[list[Float[np.ndarray, "_ channels"]], np.ndarray]:
        """Returns the sequences and their targets."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__}: requires y to be passed, but the target y is None."
            )
        xs, targets = self._read(X, reset=True), column_or_1d(y, warn=True)
        check_consistent_length(xs, targets)
        return xs, targets

    def _read(self, X: Sequences, *, reset: bool) -> list[Float[np.ndarray, "_ channels"]]:
        """Returns the sequences; checks them, and their channels unless `reset`."""
        if _is_list_of_sequences(X) or getattr(X, "ndim", 0) == 3:
            xs = [np.asarray(x, np.float32) for x in X]
            xs = [x[:, None] if x.ndim == 1 else x for x in xs]
            self._check(xs, reset=reset)
            return xs
        table: Any = validate_data(
            self, X, reset=reset, dtype=np.float32, ensure_all_finite="allow-nan"
        )
        xs = [row[:, None] for row in table]
        check_values(type(self).__name__, xs)
        return xs

    def _check(self, xs: list[np.ndarray], *, reset: bool) -> None:
        name = type(self).__name__
        shapes = sorted({x.shape for x in xs})
        channels = {shape[1:] for shape in shapes}
        if not xs or len(channels) > 1 or any(len(s) != 2 or 0 in s for s in shapes):
            raise ValueError(
                f"{name}: X must be sequences [time, channels] with the same channels, one step or "
                f"more, got shapes {shapes[:4]}."
            )
        check_values(name, xs)
        if reset:
            self.n_features_in_ = xs[0].shape[1]
        elif xs[0].shape[1] != len(self.facts_["channels"]):
            raise ValueError(
                f"{name}: X must have {len(self.facts_['channels'])} channels, as in training, "
                f"got {xs[0].shape[1]}."
            )


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class GRUClassifier(ClassifierMixin, _Estimator):
    """A bidirectional GRU that classifies sequences.

    Attributes:
        classes_: the labels, in the order of the columns of `predict_proba`.
        net_: the trained net, a `gj.Layer`.
        params_: the parameters of the best epoch in validation.
        facts_: names and statistics of the training data.
        history_: a row of numbers for each epoch, as in `metrics.jsonl`.
        n_features_in_: columns of a table `[cases, time]`, else channels.
    """

    label_smoothing: float = ClassifyConfig.label_smoothing
    """Share of each label's weight that is spread over all classes."""
    class_weights: Literal["none", "balanced"] = "none"
    """Weights of cases in the loss: all the same, or such that all classes count the same."""

    def fit(self, X: Sequences, y: Any) -> "GRUClassifier":
        """Trains on sequences and their labels; returns the estimator.

        Args:
            X: the sequences.
            y: a label for each, of any kind that scikit-learn takes.

        Raises:
            ValueError: if X or y is invalid, or the loss does not stay finite.
        """
        xs, labels = self._pair(X, y)
        check_classification_targets(labels)
        self.classes_, targets = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "GRUClassifier: y must have two classes or more, got one class: "
                f"{self.classes_[0]}."
            )
        self._train(xs, targets.astype(np.int32), tuple(map(str, self.classes_)))
        return self

    def predict_proba(self, X: Sequences) -> Float[np.ndarray, "cases classes"]:
        """Returns the probability of each class."""
        return self._answer(X)

    def predict(self, X: Sequences) -> np.ndarray:
        """Returns the likeliest label of each sequence."""
        likeliest = self._answer(X).argmax(-1)  # says so where nothing was fitted
        return self.classes_[likeliest]


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class GRURegressor(RegressorMixin, _Estimator):
    """A bidirectional GRU that gives a number for each sequence, trained on the squared error.

    Attributes:
        net_: the trained net, a `gj.Layer`.
        params_: the parameters of the best epoch in validation.
        facts_: names and statistics of the training data.
        history_: a row of numbers for each epoch, as in `metrics.jsonl`.
        n_features_in_: columns of a table `[cases, time]`, else channels.
    """

    def fit(self, X: Sequences, y: Any) -> "GRURegressor":
        """Trains on sequences and their numbers; returns the estimator.

        Args:
            X: the sequences.
            y: a number for each.

        Raises:
            ValueError: if X or y is invalid, or the loss does not stay finite.
        """
        xs, numbers = self._pair(X, y)
        targets: Any = check_array(numbers, ensure_2d=False, dtype="float64", input_name="y")
        self._train(xs, targets, ())
        return self

    def predict(self, X: Sequences) -> Float[np.ndarray, " cases"]:
        """Returns the number of each sequence."""
        return self._answer(X)[:, 0]


def _is_list_of_sequences(X: Any) -> bool:
    """Returns True for a list of arrays of two axes, or of one axis and of different lengths."""
    if not isinstance(X, Sequence) or isinstance(X, str) or not len(X):
        return False
    axes = {np.ndim(x) for x in X if hasattr(x, "shape")}
    return axes == {2} or (axes == {1} and len({len(x) for x in X}) > 1)
