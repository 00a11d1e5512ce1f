"""What both estimators do: read, split, standardise, build, train, predict, save.

Longer than 300 lines because scikit-learn wants every setting named in the constructor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted

from grus import _check, nn
from grus import _estimator_model as parts
from grus._estimator_input import as_sequences, as_weights
from grus.nn._data import Dataset

Array = np.ndarray[Any, np.dtype[Any]]


class _Split(NamedTuple):
    """Rows to train on, and rows that early stopping measures; each with targets and weights."""

    train: Dataset
    held_out: Dataset | None


class GRUEstimator(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no types
    """What both estimators do: read, split, standardise, build, train, predict, save.

    A subclass says what its targets are, and what the model's outputs mean.
    """

    # Fitted on a 2-D array or table, whose columns scikit-learn counts; else on sequences.
    _table: bool
    _loss: str
    _metrics: tuple[str, ...] = ()

    # Longer than 30 lines because scikit-learn finds the arguments by their names here.
    def __init__(
        self,
        hidden_size: int = 64,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        reset_after: bool = True,
        formulation: str | None = None,
        pool: str = "last",
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        zoneout: float = 0.0,
        activation: Any = "tanh",
        gate_activation: Any = "sigmoid",
        clip: float | None = None,
        blocks: int = 1,
        layer_norm: bool = False,
        learn_h0: bool = False,
        truncate: int | None = None,
        gradient_clip: float | None = None,
        update_bias: float = 0.0,
        init: Any = "orthogonal",
        optimiser: Any = "adam",
        learning_rate: Any = parts.LEARNING_RATE,
        epochs: int = 60,
        batch_size: int = 32,
        chunk: int | None = None,
        clip_norm: float | None = 1.0,
        standardise: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        group_by_length: bool = False,
        dtype: Any = "float32",
        random_state: Any = None,
        progress: bool | str = False,
        checkpoint: Any = None,
        resume: bool = False,
    ) -> None:
        self.hidden_size, self.num_layers, self.bidirectional = hidden_size, num_layers, bidirectional
        self.reset_after, self.pool, self.dropout = reset_after, pool, dropout
        self.activation, self.gate_activation = activation, gate_activation
        self.formulation, self.clip, self.blocks, self.layer_norm = formulation, clip, blocks, layer_norm
        self.input_dropout, self.recurrent_dropout = input_dropout, recurrent_dropout
        self.weight_dropout, self.zoneout, self.learn_h0 = weight_dropout, zoneout, learn_h0
        self.truncate, self.gradient_clip = truncate, gradient_clip
        self.update_bias, self.init = update_bias, init
        self.optimiser, self.learning_rate, self.epochs = optimiser, learning_rate, epochs
        self.batch_size, self.chunk = batch_size, chunk
        self.clip_norm, self.standardise = clip_norm, standardise
        self.early_stopping, self.validation_fraction = early_stopping, validation_fraction
        self.patience, self.group_by_length, self.dtype = patience, group_by_length, dtype
        self.random_state, self.progress = random_state, progress
        self.checkpoint, self.resume = checkpoint, resume

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    # ------------------------------------------------------------------------------------------------ training

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train a new model.

        Parameters
        ----------
        X : list of arrays (T_i, I), array (N, T, I), or array or data frame (N, T)
            The sequences, of float32, float64 or whole numbers; a list of (T_i,) arrays, and an (N, T) array or
            data frame, are sequences of one feature.
        y : array, shape (N,)
            A class for each sequence; in regression a number, or K numbers: (N, K).
        sample_weight : array, shape (N,), optional
            How much each sequence counts; only ratios matter. A sequence of weight 0 is left out, and one of
            weight 2 counts as if it stood there twice.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            An argument does not fit; the message names it, says what is expected and what came.
        FloatingPointError
            The loss became infinite or NaN. The estimator has the weights of the best epoch before.
        KeyboardInterrupt
            Ctrl-C was pressed. The estimator has the weights of the best epoch before, and can predict.
        """
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        seed = self._checked_seed()
        x = as_sequences(self, X, reset=True)
        weight = as_weights(sample_weight, len(x))
        target = self._checked_target(y)
        if len(target) != len(x):
            raise ValueError(f"y must hold one target for each of the {len(x)} sequences of X; got {len(target)}.")
        rows = Dataset(x, target, weight)
        rows = rows if weight.all() else rows.subset(np.flatnonzero(weight))
        rows.y = self._encoded(np.asarray(rows.y), np.asarray(rows.weight))
        split = self._split(rows, seed)
        self._learn_scaling(split.train)
        self.model_ = parts.build_model(self.get_params(deep=False), self._head(), seed)
        self._train(split, seed)
        return self

    def _checked_seed(self) -> int:
        """A seed from ``random_state``, and the settings that no part of grus.nn would check."""
        _check.boolean("standardise", self.standardise)
        if _check.boolean("early_stopping", self.early_stopping) and not _check.probability(
            "validation_fraction", self.validation_fraction
        ):
            raise ValueError("validation_fraction must be above 0 with early_stopping=True; got 0.")
        if _check.boolean("resume", self.resume) and not isinstance(self.random_state, (int, np.integer)):
            raise ValueError(
                "random_state must be a whole number with resume=True, for the run to be the one that was "
                f"stopped; got {self.random_state!r}."
            )
        return parts.as_seed(self.random_state)

    def _split(self, rows: Dataset, seed: int) -> _Split:
        """Take out the validation part, if there is to be one."""
        if not self.early_stopping:
            return _Split(rows, None)
        try:
            index = train_test_split(
                np.arange(len(rows)),
                test_size=self.validation_fraction,
                random_state=seed,
                stratify=self._strata(rows),
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping can't set aside {self.validation_fraction:g} of {len(rows)} sequences: {error} "
                "Give more data, change validation_fraction, or pass early_stopping=False."
            ) from error
        train, held_out = (rows.subset(np.sort(part)) for part in index)
        return _Split(train, held_out)

    def _learn_scaling(self, train: Dataset) -> None:
        """Mean and scale of every feature, over the steps of the training sequences alone."""
        x = train.x
        steps = np.concatenate(x) if isinstance(x, list) else x.reshape(-1, x.shape[-1])
        counts = [len(sequence) for sequence in x]
        self.mean_, self.scale_ = np.zeros(steps.shape[1]), np.ones(steps.shape[1])
        if self.standardise:
            self.mean_, self.scale_ = parts.weighted_scaling(steps, np.repeat(np.asarray(train.weight), counts))

    def _train(self, split: _Split, seed: int) -> None:
        """Whatever ends the training, the estimator can predict afterwards."""
        (x, y, weight), held_out = self._prepared(split.train), split.held_out
        self.model_.build(x)
        self.history_, self.n_iter_ = self.model_.history, 0
        try:
            self.model_.fit(
                x,
                y,
                sample_weight=weight,
                validation_data=None if held_out is None else self._prepared(held_out),
                loss=self._loss,
                metrics=self._metrics,
                optimiser=parts.build_optimiser(self.optimiser, self.learning_rate),
                patience=self.patience if self.early_stopping else None,
                epochs=self.epochs,
                batch_size=self.batch_size,
                chunk=self.chunk,
                clip_norm=self.clip_norm,
                group_by_length=self.group_by_length,
                progress=self.progress,
                checkpoint=self.checkpoint,
                resume=self.resume,
                seed=seed,
            )
        finally:
            self.history_, self.n_iter_ = self.model_.history, self.model_.history.epochs

    def _prepared(self, rows: Dataset) -> tuple[parts.Rows, Array, Array]:
        """x, y and weights as the model takes them; the weights have mean 1, so only their ratios matter."""
        weight = self._loss_weight(rows)
        if not weight.any():
            raise ValueError("class_weight must be above 0 for at least one class of y; got 0 for all of them.")
        return self._scaled(rows.x), self._model_target(rows), weight / weight.mean()

    def _scaled(self, x: parts.Rows) -> parts.Rows:
        return parts.scaled(x, self.mean_, self.scale_, self.model_.dtype.name)

    # ---------------------------------------------------------------------------------------------- predicting

    def _outputs(self, X: Any) -> Array:
        """What the model says of X, (N, K) float64."""
        check_is_fitted(self, "model_")
        x = as_sequences(self, X, reset=False)
        return self.model_.predict(self._scaled(x)).astype(np.float64)

    # ------------------------------------------------------------------------- what a subclass says of its targets

    @abstractmethod
    def _checked_target(self, y: Any) -> Array:
        """y as an array, one row a sequence."""

    @abstractmethod
    def _encoded(self, target: Array, weight: Array) -> Array:
        """The targets as numbers; what they tell (the classes) is learnt here."""

    def _strata(self, rows: Dataset) -> Array | None:
        """What a split must keep the proportions of."""
        return None

    def _loss_weight(self, rows: Dataset) -> Array:
        """(N,) how much each sequence counts in the loss."""
        return np.asarray(rows.weight)

    @abstractmethod
    def _model_target(self, rows: Dataset) -> Array:
        """(N,) class indices or (N, K) numbers: what the model is trained to say."""

    @abstractmethod
    def _head(self) -> nn.Dense:
        """The last layer."""

    # -------------------------------------------------------------------------------------------------- saving

    def _save_parts(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """All of a fitted estimator as named arrays and as a dictionary that JSON can hold."""
        check_is_fitted(self, "model_")
        arrays = {f"model.{name}": array for name, array in self.model_.state_dict().items()}
        arrays |= {"mean": self.mean_, "scale": self.scale_}
        history = self.history_
        names = getattr(self, "feature_names_in_", None)
        config = {
            "parameters": {name: parts.encode(name, value) for name, value in self.get_params(deep=False).items()},
            "n_features_in": self.n_features_in_,
            "feature_names_in": None if names is None else names.tolist(),
            "table": self._table,
            "model": self.model_.config(),
            "history": {"columns": {**history}, "best_epoch": history.best_epoch, "stopped": history.stopped},
        }
        return arrays, config

    @classmethod
    def _from_parts(cls, arrays: Mapping[str, Array], config: Mapping[str, Any]) -> Any:
        """The estimator whose :meth:`_save_parts` these are; it predicts the same bits."""
        given = config["parameters"]
        _check.known_keys(cls.__name__, given, cls._get_param_names())
        estimator = cls(**{name: parts.decode(value) for name, value in given.items()})
        estimator._table, estimator.n_features_in_ = config["table"], config["n_features_in"]
        if config["feature_names_in"] is not None:
            estimator.feature_names_in_ = np.array(config["feature_names_in"], dtype=object)
        features = 1 if estimator._table else estimator.n_features_in_
        estimator.mean_, estimator.scale_ = (
            _check.shaped(name, arrays[name], (features,), "that is how many features X has")
            for name in ("mean", "scale")
        )
        estimator.model_ = nn.Sequential.from_config(config["model"])
        prefix = "model."
        state = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
        estimator.model_.load_state_dict(state)
        estimator.history_ = estimator.model_.history = nn.History(config["history"]["columns"])
        estimator.history_.best_epoch = config["history"]["best_epoch"]
        estimator.history_.stopped = config["history"]["stopped"]
        estimator.n_iter_ = estimator.history_.epochs
        return estimator
