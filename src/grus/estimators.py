"""``grus.GRUClassifier`` and ``grus.GRURegressor``: a GRU with scikit-learn's manners.

Longer than 300 lines because the docstrings explain every argument; the code is about half.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

try:
    from sklearn.base import ClassifierMixin, RegressorMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_array, column_or_1d
except ImportError as error:
    raise ImportError('grus.estimators needs scikit-learn. Install it: pip install "grus[app]"') from error

from grus import _check, nn
from grus import _estimator_model as parts
from grus._estimator_base import GRUEstimator
from grus.nn._data import Dataset

Array = np.ndarray[Any, np.dtype[Any]]


class GRUClassifier(ClassifierMixin, GRUEstimator):
    """A GRU that tells the class of a sequence.

    GRU, dropout, a dense layer with softmax; trained on the cross-entropy. A scikit-learn classifier: it goes into
    pipelines, cross-validation and grid searches, with ragged lists of sequences too.

    Parameters
    ----------
    hidden_size : int, default 64
        The GRU's units (of each direction).
    num_layers : int, default 1
        Each further layer reads the one below it.
    bidirectional : bool, default True
        A second direction reads each sequence from its end.
    reset_after : bool, default True
        Which of the two formulations; see :class:`grus.GRU`.
    formulation : {"after", "before", "candidate"}, optional
        The same by name, and a third one.
    pool : {"max", "mean", "last"}, default "max"
        What of the states goes into the dense layer: the largest or the mean over all steps, or the last.
    dropout : float, default 0.3
        In training, the rate of dropout on the pooled states and between the layers.
    input_dropout, recurrent_dropout, weight_dropout, zoneout : float, default 0
        In training, the rates of what else is random inside the GRU; see :class:`grus.GRU`.
    activation, gate_activation : default "tanh" and "sigmoid"
        Of the new gate, and of the reset and the update gate (a pair gives each its own); see :class:`grus.GRU`.
    clip, blocks, layer_norm, learn_h0 : default None, 1, False and False
        Bounds of the pre-activations, blocks of the recurrent matrices, normalised products, and first states
        that are learned; see :class:`grus.GRU`.
    truncate, gradient_clip : int and float, optional
        How many steps gradients go back, and how large they may be on the way; see :class:`grus.GRU`.
    update_bias : float, default 0
        Above 0, the state is kept longer at first.
    init : {"orthogonal", "torch"} or dict, default "orthogonal"
        Initial weights; see :class:`grus.GRU`.
    optimiser : {"adam", "adamw", "sgd"} or Optimiser, default "adam"
        An Optimiser of :mod:`grus.nn` has a learning rate (and weight decay) of its own; it is copied.
    learning_rate : float or Schedule, default 0.01
        Leave it at its default with an Optimiser.
    epochs : int, default 60
        How often training sees each sequence, at most.
    batch_size : int, default 32
        Sequences in a step of training.
    chunk : int or None, default None
        Truncated backpropagation: training takes so many steps at once, and a sequence's gradient does not reach
        beyond its last chunk (see :func:`grus.nn.fit`). Needs ``pool="last"`` and ``bidirectional=False``.
    clip_norm : float or None, default 1
        Largest 2-norm of all gradients together; None: not clipped.
    standardise : bool, default True
        Shift and scale each feature to mean 0 and standard deviation 1 over the training steps.
    class_weight : dict, "balanced" or None, default None
        How much each class counts, 1 where the dict does not name it; ``"balanced"``: inversely to how frequent it
        is. It multiplies ``sample_weight``.
    early_stopping : bool, default False
        Set a part of the data aside (of each class alike), stop when the loss on it has not improved for
        ``patience`` epochs, and go back to the weights that were best on it.
    validation_fraction : float, default 0.1
        The share that early stopping sets aside.
    patience : int, default 10
        Epochs without improvement after which early stopping stops.
    group_by_length : bool, default False
        Put sequences of like length into one batch: less padding, less chance in the order.
    dtype : {"float32", "float64"}, default "float32"
        What the model computes in.
    random_state : int, RandomState, Generator or None, default None
        Of initial weights, order, dropout and the validation part. The same int gives the same bits; None gives
        fresh ones, without NumPy's global state.
    progress : bool or "auto", default False
        True: tell on standard error how far training is; "auto": on a terminal only.
    checkpoint : path, optional
        A file from which ``resume=True`` goes on, rewritten after every epoch.
    resume : bool, default False
        Go on from ``checkpoint`` if it exists, with the same data and ``random_state``; the numbers are those of a
        run that was never stopped.

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
        The classes, sorted.
    class_weight_ : ndarray, shape (K,)
        How much each of them counted.
    n_features_in_ : int
        I for sequences; T for an (N, T) array or data frame, whose columns are the steps.
    feature_names_in_ : ndarray of str
        The columns of the data frame, if X was one.
    mean_, scale_ : ndarray, shape (I,)
        What was subtracted from each feature, and what it was divided by then.
    model_ : grus.nn.Sequential
        The model.
    history_ : grus.nn.History
        Loss and accuracy, epoch by epoch.
    n_iter_ : int
        Epochs done.

    See Also
    --------
    GRURegressor : The same for numbers.
    grus.nn.Sequential : Models of other layers.

    Notes
    -----
    The defaults of ``hidden_size``, ``bidirectional``, ``pool``, ``dropout``, ``learning_rate`` and ``epochs`` are
    those that ``examples/choose_japanese_vowels.py`` chose by cross-validation on training data alone.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.standard_normal((t, 2)) for t in rng.integers(3, 9, 60)]       # 60 sequences of 3 to 8 steps
    >>> y = np.where([x[:, 0].sum() > 0 for x in X], "up", "down")
    >>> classifier = grus.GRUClassifier(hidden_size=8, epochs=30, random_state=0).fit(X, y)
    >>> classifier.score(X, y) > 0.9
    True
    >>> classifier.predict(X[:3]).tolist() == y[:3].tolist()
    True
    """

    _loss, _metrics = "categorical_crossentropy", ("accuracy",)

    # Longer than 30 lines because scikit-learn finds the arguments by their names here.
    def __init__(
        self,
        hidden_size: int = 64,
        num_layers: int = 1,
        *,
        bidirectional: bool = True,
        reset_after: bool = True,
        formulation: str | None = None,
        pool: str = "max",
        dropout: float = 0.3,
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
        class_weight: Any = None,
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
        super().__init__(
            hidden_size, num_layers, bidirectional=bidirectional, reset_after=reset_after, formulation=formulation,
            pool=pool, dropout=dropout, input_dropout=input_dropout, recurrent_dropout=recurrent_dropout,
            weight_dropout=weight_dropout, zoneout=zoneout, activation=activation, gate_activation=gate_activation,
            clip=clip, blocks=blocks, layer_norm=layer_norm, learn_h0=learn_h0, truncate=truncate,
            gradient_clip=gradient_clip, update_bias=update_bias, init=init, optimiser=optimiser,
            learning_rate=learning_rate, epochs=epochs, batch_size=batch_size, chunk=chunk, clip_norm=clip_norm,
            standardise=standardise, early_stopping=early_stopping, validation_fraction=validation_fraction,
            patience=patience, group_by_length=group_by_length, dtype=dtype, random_state=random_state,
            progress=progress, checkpoint=checkpoint, resume=resume,
        )  # fmt: skip
        self.class_weight = class_weight

    # ---------------------------------------------------------------------------------------------- predicting

    def predict(self, X: Any) -> Array:
        """The likeliest class of each sequence.

        Parameters
        ----------
        X : list of arrays (T_i, I), array (N, T, I), or array or data frame (N, T)
            As in :meth:`fit`; of other lengths, if need be, but for the last form.

        Returns
        -------
        ndarray, shape (N,), dtype of ``classes_``

        Raises
        ------
        ValueError, TypeError
            X is not such sequences, or has other features than those of :meth:`fit`.
        sklearn.exceptions.NotFittedError
            :meth:`fit` was not called.
        """
        p = self.predict_proba(X)
        return np.asarray(self.classes_[p.argmax(axis=1)])

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class for each sequence.

        Parameters
        ----------
        X : list of arrays (T_i, I), array (N, T, I), or array or data frame (N, T)
            As in :meth:`predict`, whose errors are those of this method.

        Returns
        -------
        ndarray, shape (N, K), float64
            Columns in the order of ``classes_``.
        """
        p = self._outputs(X)
        return np.asarray(p / p.sum(axis=1, keepdims=True))  # float32 sums to 1 only within its precision

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of :meth:`predict_proba`, of the same X and shape."""
        with np.errstate(divide="ignore"):  # a probability of 0 has the logarithm -inf
            return np.asarray(np.log(self.predict_proba(X)))

    # ------------------------------------------------------------------------------------------------- targets

    def _checked_target(self, y: Any) -> Array:
        target: Array = column_or_1d(y, warn=True)
        if target.dtype.kind == "f":
            _check.finite("y", target, "Leave out sequences without a class.")
        check_classification_targets(target)
        return target

    def _encoded(self, target: Array, weight: Array) -> Array:
        self.classes_, codes = np.unique(target, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y must hold at least 2 classes; got 1 class, {self.classes_.tolist()[0]!r}.")
        self.class_weight_ = parts.class_weights(self.class_weight, self.classes_, codes, weight)
        return codes

    def _strata(self, rows: Dataset) -> Array:
        return np.asarray(rows.y)

    def _loss_weight(self, rows: Dataset) -> Array:
        return np.asarray(super()._loss_weight(rows) * self.class_weight_[rows.y])

    def _model_target(self, rows: Dataset) -> Array:
        return np.asarray(rows.y)

    def _head(self) -> nn.Dense:
        return nn.Dense(len(self.classes_), "softmax")

    # -------------------------------------------------------------------------------------------------- saving

    def _save_parts(self) -> tuple[dict[str, Array], dict[str, Any]]:
        arrays, config = super()._save_parts()
        return arrays, config | {"classes": parts.encode_classes(self.classes_)}

    @classmethod
    def _from_parts(cls, arrays: Mapping[str, Array], config: Mapping[str, Any]) -> Any:
        estimator = super()._from_parts(arrays, config)
        estimator.classes_ = parts.decode_classes(config["classes"])
        return estimator


class GRURegressor(RegressorMixin, GRUEstimator):
    """A GRU that tells a number, or several, of a sequence.

    GRU, dropout, a dense layer; trained on the mean squared error. A scikit-learn regressor: it goes into
    pipelines, cross-validation and grid searches, with ragged lists of sequences too.

    The targets are always standardised for training, and predictions mapped back; ``history_`` is in
    standardised units.

    Parameters
    ----------
    hidden_size, num_layers, reset_after, formulation, activation, gate_activation, update_bias, init
        Of the GRU, as in :class:`GRUClassifier`.
    clip, blocks, layer_norm, learn_h0, truncate, gradient_clip
        Of the GRU too, as in :class:`GRUClassifier`.
    input_dropout, recurrent_dropout, weight_dropout, zoneout : float, default 0
        In training, the rates of what is random inside the GRU; see :class:`grus.GRU`.
    bidirectional : bool, default False
        A second direction reads each sequence from its end.
    pool : {"last", "mean", "max"}, default "last"
        What of the states goes into the dense layer: the last, or the mean or the largest over all steps.
    dropout : float, default 0
        In training, the rate of dropout on the pooled states and between the layers.
    optimiser, learning_rate, epochs, batch_size, chunk, clip_norm, standardise, group_by_length
        Of training, as in :class:`GRUClassifier`.
    dtype, random_state
        Of training, as in :class:`GRUClassifier`.
    early_stopping, validation_fraction, patience
        As in :class:`GRUClassifier`, but the part set aside is drawn from all sequences alike.
    progress, checkpoint, resume
        As in :class:`GRUClassifier`.

    Attributes
    ----------
    target_mean_, target_scale_ : ndarray, shape (K,)
        What was subtracted from each target, and what it was divided by then.
    n_features_in_, feature_names_in_, mean_, scale_, model_, history_, n_iter_
        As in :class:`GRUClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.standard_normal((t, 2)) for t in rng.integers(3, 9, 60)]       # 60 sequences of 3 to 8 steps
    >>> y = np.array([100 + x[:, 0].sum() for x in X])
    >>> regressor = grus.GRURegressor(hidden_size=8, epochs=30, random_state=0).fit(X, y)
    >>> regressor.score(X, y) > 0.9
    True
    >>> regressor.predict(X).shape
    (60,)
    """

    _loss = "mse"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def predict(self, X: Any) -> Array:
        """The number, or the numbers, of each sequence.

        Parameters
        ----------
        X : list of arrays (T_i, I), array (N, T, I), or array or data frame (N, T)
            As in :meth:`fit`; of other lengths, if need be, but for the last form.

        Returns
        -------
        ndarray, shape (N,) or (N, K) as the y of :meth:`fit`, float64

        Raises
        ------
        ValueError, TypeError
            X is not such sequences, or has other features than those of :meth:`fit`.
        sklearn.exceptions.NotFittedError
            :meth:`fit` was not called.
        """
        y = self._outputs(X) * self.target_scale_ + self.target_mean_
        return np.asarray(y[:, 0] if self._one_number else y)

    # ------------------------------------------------------------------------------------------------- targets

    def _checked_target(self, y: Any) -> Array:
        y = check_array(y, ensure_2d=False, ensure_all_finite=False, input_name="y")
        if y.dtype.kind not in "biuf":
            raise TypeError(f"y must hold numbers; got dtype {y.dtype}.")
        return _check.finite("y", y.astype(np.float64), "Leave out sequences without a target.")

    def _encoded(self, target: Array, weight: Array) -> Array:
        self._one_number = target.ndim == 1
        return target.reshape(len(target), -1)

    def _learn_scaling(self, train: Dataset) -> None:
        super()._learn_scaling(train)
        self.target_mean_, self.target_scale_ = parts.weighted_scaling(
            np.asarray(train.y), np.asarray(train.weight)
        )

    def _model_target(self, rows: Dataset) -> Array:
        return np.asarray((rows.y - self.target_mean_) / self.target_scale_)

    def _head(self) -> nn.Dense:
        return nn.Dense(len(self.target_mean_))

    # -------------------------------------------------------------------------------------------------- saving

    def _save_parts(self) -> tuple[dict[str, Array], dict[str, Any]]:
        arrays, config = super()._save_parts()
        arrays |= {"target_mean": self.target_mean_, "target_scale": self.target_scale_}
        return arrays, config | {"one_number": self._one_number}

    @classmethod
    def _from_parts(cls, arrays: Mapping[str, Array], config: Mapping[str, Any]) -> Any:
        estimator = super()._from_parts(arrays, config)
        estimator.target_mean_, estimator.target_scale_ = arrays["target_mean"], arrays["target_scale"]
        estimator._one_number = config["one_number"]
        return estimator
