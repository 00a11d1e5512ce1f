"""The scikit-learn estimators: scikit-learn's own checks, every form of input, and every message."""

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from grus import nn
from grus.activations import Activation

pytest.importorskip("sklearn", reason='scikit-learn is not installed: pip install "grus[app]"')

import pandas as pd
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from grus.estimators import GRUClassifier, GRURegressor

# In full batches and float64, a weight of 2 is a repetition to the last digits; in minibatches, whose composition
# depends on how many rows there are, and in float32 it is one only roughly.
PLAIN = {"bidirectional": False, "pool": "last", "dropout": 0.0}
CHECKED = PLAIN | {"hidden_size": 8, "epochs": 40, "batch_size": 1000, "learning_rate": 0.05, "dtype": "float64"}
BOTH = [GRUClassifier, GRURegressor]


@parametrize_with_checks([GRUClassifier(**CHECKED), GRURegressor(**CHECKED)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def small(kind=GRUClassifier, **changes):
    return kind(**(PLAIN | {"hidden_size": 4, "epochs": 2, "random_state": 0} | changes))


def ragged(n=24, features=2, seed=0):
    """n sequences of 3 to 8 steps, and a class and a number for each."""
    rng = np.random.default_rng(seed)
    x = [rng.normal(3.0, 2.0, (t, features)) for t in rng.integers(3, 9, n)]
    return x, np.array(["down", "up"])[np.arange(n) % 2], np.array([a[:, 0].sum() for a in x])


def targets(kind, n=24):
    return ragged(n)[1 if kind is GRUClassifier else 2]


def outputs(estimator, x):
    return getattr(estimator, "predict_proba", estimator.predict)(x)


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# ------------------------------------------------------------------------------------------------- forms of input


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("pool", ["last", "mean", "max"])
def test_list_array_and_object_array_are_the_same_sequences(kind, pool):
    array = np.random.default_rng(0).standard_normal((24, 5, 2))
    objects = np.empty(24, object)
    objects[:] = list(array)
    results = [
        outputs(small(kind, pool=pool, bidirectional=True).fit(x, targets(kind)), x)
        for x in (array, list(array), tuple(array), objects, array.tolist(), array.astype(object))
    ]
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", BOTH)
def test_sequences_in_one_batch_are_what_they_are_alone(kind):
    x, *_ = ragged()
    estimator = small(kind, pool="max", bidirectional=True).fit(x, targets(kind))
    alone = np.concatenate([outputs(estimator, [each]) for each in x])
    np.testing.assert_allclose(outputs(estimator, x), alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", BOTH)
def test_univariate_forms_agree(kind):
    table = np.random.default_rng(0).standard_normal((24, 5))
    y, frame = targets(kind), pd.DataFrame(table, columns=list("abcde"))
    forms = {
        "table": table,
        "nested": table.tolist(),
        "frame": frame,
        "three axes": table[:, :, None],
        "rows": list(table),
        "columns": list(table[:, :, None]),
    }
    fitted = {name: small(kind).fit(x, y) for name, x in forms.items()}
    expected = outputs(fitted["table"], table)
    for name, estimator in fitted.items():
        np.testing.assert_allclose(outputs(estimator, forms[name]), expected, rtol=1e-5, atol=1e-6, err_msg=name)
        assert estimator.n_features_in_ == (5 if name in ("table", "nested", "frame") else 1)
        assert estimator.mean_.shape == (1,)
    assert fitted["frame"].feature_names_in_.tolist() == list("abcde")
    assert not hasattr(fitted["frame"].fit(list(table), y), "feature_names_in_")


def test_a_univariate_model_takes_sequences_of_any_length_but_a_table_of_the_same():
    x = np.random.default_rng(0).standard_normal((24, 5))
    on_table, on_rows = small().fit(x, targets(GRUClassifier)), small().fit(list(x), targets(GRUClassifier))
    np.testing.assert_allclose(on_table.predict_proba(list(x)), on_table.predict_proba(x), rtol=1e-6)
    assert on_table.predict([np.ones(3), np.ones(9)]).shape == (2,)
    assert on_rows.predict(x[:, :3]).shape == (24,)
    with pytest.raises(ValueError, match="X has 3 features, but GRUClassifier is expecting 5 features as input"):
        on_table.predict(x[:, :3])


def test_whole_numbers_and_booleans_count_as_numbers():
    x = [np.arange(6).reshape(3, 2) % (i + 2) for i in range(24)]
    y = targets(GRURegressor)
    expected = small(GRURegressor).fit([a.astype(float) for a in x], y)
    assert same_bits(small(GRURegressor).fit(x, y).predict(x), expected.predict(x))
    flags = [a > 1 for a in x]
    assert np.isfinite(small(GRURegressor).fit(flags, y).predict(flags)).all()


# ------------------------------------------------------------------------------------------------------- messages


def with_value(value):
    x, *_ = ragged()
    x[3][2, 1] = value
    return x


FORMS = "X must be a list of (T, features) arrays, an (N, T, features) array, or an (N, T) array or table"
BAD_X = [
    ([], ValueError, "X must hold at least one sequence; got none."),
    (np.zeros((0, 5, 2)), ValueError, "X must hold at least one sequence, step and feature; got shape (0, 5, 2)."),
    (
        np.zeros((24, 0, 2)),
        ValueError,
        "X must hold at least one sequence, step and feature; got shape (24, 0, 2).",
    ),
    ([np.ones((3, 2)), np.ones((0, 2))], ValueError, "X[1] must have shape (T, 2) with at least one step"),
    ([np.ones((3, 0))], ValueError, "X[0] must have shape (T, features) with at least one step"),
    ([np.ones((3, 2)), np.ones((3, 4))], ValueError, "X[1] must have shape (T, 2) with at least one step, as all"),
    ([np.ones((3, 2)), np.ones(3)], ValueError, "have the same features; got (3,)."),
    (
        [np.ones((3, 2, 2))],
        ValueError,
        "X[0] must have shape (T, features), or (T,) for one feature; got (3, 2, 2).",
    ),
    ([1.0, 2.0], ValueError, "X[0] must have shape (T, features), or (T,) for one feature; got ()."),
    (np.ones(5), ValueError, FORMS + "; got an array of shape (5,). Reshape your data."),
    (np.ones((2, 2, 2, 2)), ValueError, FORMS + "; got an array of shape (2, 2, 2, 2). Reshape your data."),
    (None, TypeError, FORMS + "; got NoneType."),
    ({"a": 1}, TypeError, FORMS + "; got dict."),
    (["ab", "cd"], TypeError, "X[0] must hold float32, float64 or whole numbers; got dtype <U2."),
    (
        [np.ones((3, 2), complex)],
        TypeError,
        "X[0] must hold float32, float64 or whole numbers; got dtype complex128.",
    ),
    ([np.ones((3, 2), np.float16)], TypeError, "got dtype float16. Pass it as .astype('float32')."),
    (np.ones((24, 5), np.float16), TypeError, "X must hold float32, float64 or whole numbers; got dtype float16."),
    (
        np.ones((24, 5, 2), np.float16),
        TypeError,
        "X must hold float32, float64 or whole numbers; got dtype float16.",
    ),
    (
        [np.array([[1, "a"]], object)],
        TypeError,
        "X[0] must hold numbers; got dtype object with something else inside.",
    ),
    ([[[1, 2], [3]]], ValueError, "X[0] must be an array; got a list whose rows differ in length."),
    (with_value(np.nan), ValueError, "X must be finite; got NaN in sequence 3, step 2, feature 1. Fill it in"),
    (with_value(-np.inf), ValueError, "X must be finite; got infinity in sequence 3, step 2, feature 1."),
    (with_value(1e300), ValueError, "scale the features down."),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(("x", "error", "text"), BAD_X)
def test_bad_x(kind, x, error, text):
    n = len(x) if hasattr(x, "__len__") else 24
    with pytest.raises(error, match=re.escape(text)):
        small(kind, standardise=False).fit(x, targets(kind, max(n, 1))[:n])


def test_huge_and_tiny_numbers_are_standardised():
    for value in (1e306, 1e-300):
        x = [value * a for a in ragged()[0]]
        classifier = small().fit(x, targets(GRUClassifier))
        steps = (np.concatenate(x) - classifier.mean_) / classifier.scale_
        np.testing.assert_allclose(steps.std(axis=0), 1)
    with pytest.raises(ValueError, match="It was finite before it was standardised and converted to float32"):
        classifier.predict([np.ones((3, 2))])


@pytest.mark.parametrize(
    ("x", "text"),
    [
        ([np.ones((4, 3))], "X has 3 features, but GRUClassifier is expecting 2 features as input."),
        (np.ones((1, 4, 3)), "X has 3 features, but GRUClassifier is expecting 2 features as input."),
        (
            np.ones((7, 2)),
            "X has 1 features, but GRUClassifier is expecting 2 features as input: an array of shape (7, 2) reads "
            "as 7 sequences of one feature. If it is one sequence, pass [X].",
        ),
        (with_value(np.nan), "X must be finite; got NaN in sequence 3, step 2, feature 1."),
    ],
)
def test_bad_x_to_predict(x, text):
    estimator = small().fit(*ragged()[:2])
    for method in (estimator.predict, estimator.predict_proba, estimator.predict_log_proba):
        with pytest.raises(ValueError, match=re.escape(text)):
            method(x)


@pytest.mark.parametrize(
    ("kind", "y", "error", "text"),
    [
        (GRUClassifier, None, ValueError, "GRUClassifier requires y to be passed, but the target y is None."),
        (GRUClassifier, ["a"] * 24, ValueError, "y must hold at least 2 classes; got 1 class, 'a'."),
        (
            GRUClassifier,
            ["a", "b"],
            ValueError,
            "y must hold one target for each of the 24 sequences of X; got 2.",
        ),
        (GRUClassifier, np.arange(24) / 5, ValueError, "Unknown label type: continuous"),
        (
            GRUClassifier,
            np.ones((24, 2)),
            ValueError,
            "y should be a 1d array, got an array of shape (24, 2) instead.",
        ),
        (GRUClassifier, [np.nan] * 24, ValueError, "y must be finite; got 24 NaN or infinite values"),
        (GRURegressor, None, ValueError, "GRURegressor requires y to be passed, but the target y is None."),
        (GRURegressor, [1.0, 2.0], ValueError, "y must hold one target for each of the 24 sequences of X; got 2."),
        (GRURegressor, [np.inf] * 24, ValueError, "Leave out sequences without a target."),
        (
            GRURegressor,
            np.full(24, np.datetime64("2020")),
            TypeError,
            "y must hold numbers; got dtype datetime64[Y].",
        ),
    ],
)
def test_bad_y(kind, y, error, text):
    with pytest.raises(error, match=re.escape(text)):
        small(kind).fit(ragged()[0], y)


@pytest.mark.parametrize(
    ("weight", "error", "text"),
    [
        (np.ones(3), ValueError, "sample_weight must have shape (24,) because X holds 24 sequences; got (3,)."),
        (1.0, ValueError, "sample_weight must have shape (24,) because X holds 24 sequences; got ()."),
        (-np.ones(24), ValueError, "sample_weight must be finite and at least 0; got -1 ... -1."),
        (np.full(24, np.nan), ValueError, "sample_weight must be finite and at least 0; got nan ... nan."),
        (np.zeros(24), ValueError, "sample_weight must be above 0 for at least one sequence"),
        (["a"] * 24, TypeError, "sample_weight must hold numbers; got dtype <U1."),
    ],
)
def test_bad_weights(weight, error, text):
    with pytest.raises(error, match=re.escape(text)):
        small().fit(*ragged()[:2], sample_weight=weight)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"hidden_size": 0}, ValueError, "hidden_size must be at least 1; got 0."),
        ({"num_layers": 1.5}, TypeError, "num_layers must be a whole number; got 1.5"),
        ({"pool": "sum"}, ValueError, "pool must be one of last, mean, max; got 'sum'."),
        ({"dropout": 1.0}, ValueError, "dropout must be at least 0 and below 1; got 1."),
        ({"activation": "tanhh"}, ValueError, "Did you mean 'tanh'?"),
        ({"init": "zeros"}, ValueError, "init must be one of orthogonal, torch; got 'zeros'."),
        ({"dtype": "complex128"}, ValueError, "dtype must be one of float32, float64; got 'complex128'."),
        ({"dtype": "int"}, ValueError, "dtype must be one of"),
        ({"optimiser": "adm"}, ValueError, "Did you mean 'adam'?"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate must be above 0; got -1."),
        (
            {"optimiser": nn.Adam(), "learning_rate": 0.5},
            ValueError,
            "learning_rate must be left at its default with",
        ),
        ({"epochs": 0}, ValueError, "epochs must be at least 1; got 0."),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1; got 0."),
        ({"clip_norm": 0}, ValueError, "clip_norm must be above 0; got 0."),
        ({"standardise": "yes"}, TypeError, "standardise must be True or False; got 'yes'"),
        ({"early_stopping": 1}, TypeError, "early_stopping must be True or False; got 1"),
        ({"early_stopping": True, "validation_fraction": 0.0}, ValueError, "validation_fraction must be above 0"),
        (
            {"early_stopping": True, "validation_fraction": 1.0},
            ValueError,
            "validation_fraction must be at least 0",
        ),
        (
            {"early_stopping": True, "validation_fraction": 0.01},
            ValueError,
            "early_stopping can't set aside 0.01 of 24 sequences: The test_size = 1 should be greater or equal to "
            "the number of classes = 2 Give more data, change validation_fraction, or pass early_stopping=False.",
        ),
        ({"early_stopping": True, "patience": 0}, ValueError, "patience must be at least 1; got 0."),
        ({"random_state": -1}, ValueError, "random_state must be at least 0; got -1."),
        ({"random_state": 2**32}, ValueError, "random_state must be below 2**32; got 4294967296."),
        ({"random_state": "0"}, TypeError, "random_state must be a whole number; got '0' of type str."),
        (
            {"resume": True, "random_state": None},
            ValueError,
            "random_state must be a whole number with resume=True",
        ),
        ({"resume": True}, ValueError, "resume needs checkpoint="),
        ({"progress": "always"}, ValueError, "progress must be True, False or 'auto'"),
        ({"class_weight": "even"}, ValueError, "class_weight must be a dict, 'balanced' or None; got 'even'."),
        (
            {"class_weight": {"uo": 2}},
            ValueError,
            "class_weight must name classes of y, ['down', 'up']; got ['uo'].",
        ),
        ({"class_weight": {"up": -1}}, ValueError, "class_weight['up'] must be at least 0; got -1."),
        (
            {"class_weight": {"up": 0, "down": 0}},
            ValueError,
            "class_weight must be above 0 for at least one class",
        ),
    ],
)
def test_bad_settings(changes, error, text):
    with pytest.raises(error, match=re.escape(text)):
        small(**changes).fit(*ragged()[:2])


@pytest.mark.parametrize("kind", BOTH)
def test_not_fitted(kind):
    for method in ("predict", "_save_parts"):
        arguments = [ragged()[0]] if method == "predict" else []
        with pytest.raises(NotFittedError, match=rf"This {kind.__name__} instance is not fitted yet. Call 'fit'"):
            getattr(small(kind), method)(*arguments)


def test_without_scikit_learn_the_message_names_the_extra():
    program = "import sys; sys.modules['sklearn.base'] = None; import grus.estimators"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert 'ImportError: grus.estimators needs scikit-learn. Install it: pip install "grus[app]"' in run.stderr


# -------------------------------------------------------------------------------------------------- what it learns


def test_the_classifiers_defaults_are_what_cross_validation_chose():
    result = Path(__file__).parents[1] / "examples" / "results" / "japanese_vowels_cv.json"
    chosen = json.loads(result.read_text(encoding="utf-8"))["winner"]
    assert {name: GRUClassifier().get_params()[name] for name in chosen} == chosen


@pytest.mark.parametrize("labels", [["low", "high"], [7, -2], [True, False], [2.0, 3.0]])
def test_labels_come_back_as_they_went_in(labels):
    x, *_ = ragged(40)
    y = np.array([labels[int(a[:, 0].sum() > 20)] for a in x])
    classifier = small(hidden_size=8, epochs=60, dtype="float64").fit(x, y)
    assert classifier.classes_.dtype == y.dtype
    assert classifier.classes_.tolist() == sorted(labels)
    assert classifier.predict(x).dtype == y.dtype
    assert classifier.score(x, y) > 0.9
    probabilities = classifier.predict_proba(x)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(classifier.predict_log_proba(x), np.log(probabilities))
    assert set(classifier.history_) == {"loss", "accuracy", "learning_rate", "seconds"}


def test_a_regressor_learns_several_numbers_of_any_size():
    x, _, total = ragged(40)
    y = np.stack([1e6 + 1e3 * total, 1e-6 * total, np.full(40, 5.0)], axis=1)
    regressor = small(GRURegressor, hidden_size=8, epochs=100, learning_rate=0.03).fit(x, y)
    predicted = regressor.predict(x)
    assert predicted.shape == (40, 3)
    assert r2_score(y[:, :2], predicted[:, :2]) > 0.95
    np.testing.assert_allclose(predicted[:, 2], 5, atol=0.1)
    assert regressor.target_scale_[2] == 1
    np.testing.assert_allclose(regressor.target_mean_, y.mean(axis=0))
    assert regressor.fit(x, y[:, 0]).predict(x).shape == (40,)
    assert regressor.fit(x, y[:, :1]).predict(x).shape == (40, 1)


def test_standardisation_is_over_the_steps_that_are_there():
    x, y, _ = ragged(features=3)
    x = [np.concatenate([a, np.full((len(a), 1), 0.1)], axis=1) for a in x]  # 0.1 has no exact mean
    classifier, steps = small().fit(x, y), np.concatenate(x)
    np.testing.assert_allclose(classifier.mean_, steps.mean(axis=0))
    np.testing.assert_allclose(classifier.scale_, [*steps[:, :3].std(axis=0), 1.0])
    off = small(standardise=False).fit(x, y)
    assert off.mean_.tolist() == [0] * 4
    assert off.scale_.tolist() == [1] * 4


def test_standardisation_and_split_of_early_stopping():
    """Sequence i is the number 2**i, so that the mean tells which sequences it is of."""
    x, y = [np.array([2.0**i]) for i in range(20)], np.arange(20) % 2
    classifier = small(early_stopping=True, validation_fraction=0.2, dtype="float64").fit(x, y)
    used = round(classifier.mean_[0] * 16)
    held_out = [i for i in range(20) if not used >> i & 1]
    assert sorted(y[held_out]) == [0, 0, 1, 1]
    other = small(early_stopping=True, validation_fraction=0.2, dtype="float64", random_state=1).fit(x, y)
    assert other.mean_[0] != classifier.mean_[0]


@pytest.mark.parametrize("kind", BOTH)
def test_early_stopping_goes_back_to_the_best_epoch(kind):
    x, y = ragged(40)[0], targets(kind, 40)
    settings = {"early_stopping": True, "validation_fraction": 0.25, "patience": 3, "learning_rate": 0.1}
    stopped = small(kind, epochs=300, **settings).fit(x, y)
    history = stopped.history_
    assert history.stopped == "early stopping"
    assert stopped.n_iter_ == history.epochs == history.best_epoch + 3 < 300
    assert history["val_loss"].index(min(history["val_loss"])) + 1 == history.best_epoch
    shorter = small(kind, epochs=history.best_epoch, **settings).fit(x, y)
    assert same_bits(outputs(stopped, x), outputs(shorter, x))


# -------------------------------------------------------------------------------------------------------- weights


def first_step(kind, x, y, weight=None, **changes):
    """The parameters after one step down the gradient of all data."""
    settings = {"epochs": 1, "batch_size": 1000, "optimiser": "sgd", "clip_norm": None, "dtype": "float64"}
    return small(kind, **settings | changes).fit(x, y, sample_weight=weight).model_.flat


@pytest.mark.parametrize("kind", BOTH)
def test_a_weight_is_a_repetition(kind):
    x, y = ragged()[0], targets(kind)
    weight = np.arange(24) % 4
    repeated = np.repeat(np.arange(24), weight)
    by_weight = first_step(kind, x, y, weight)
    np.testing.assert_allclose(by_weight, first_step(kind, [x[i] for i in repeated], y[repeated]), rtol=1e-11)
    np.testing.assert_allclose(by_weight, first_step(kind, x, y, weight / 7), rtol=1e-11)
    assert not np.allclose(by_weight, first_step(kind, x, y), rtol=1e-6)


def test_class_weight_multiplies_sample_weight():
    x, y, _ = ragged()
    weight = np.arange(1.0, 25.0)
    both = first_step(GRUClassifier, x, y, weight, class_weight={"up": 3}, standardise=False)
    product = weight * np.where(y == "up", 3, 1)
    np.testing.assert_allclose(both, first_step(GRUClassifier, x, y, product, standardise=False), rtol=1e-11)


def test_balanced_classes_count_alike_in_all():
    x, y, _ = ragged()
    y[:9] = "up"
    weight = np.arange(24) % 3
    classifier = small(class_weight="balanced").fit(x, y, sample_weight=weight)
    total = [weight[y == label].sum() for label in classifier.classes_]
    np.testing.assert_allclose(classifier.class_weight_, weight.sum() / (2 * np.array(total)))
    plain = small(epochs=20, learning_rate=0.1).fit(x, y)
    heavy = small(epochs=20, learning_rate=0.1, class_weight={"down": 100.0}).fit(x, y)
    assert (heavy.predict(x) == "down").sum() > (plain.predict(x) == "down").sum()


# --------------------------------------------------------------------------------------- randomness, interruptions


@pytest.mark.parametrize("kind", BOTH)
def test_random_state(kind):
    x, y = ragged()[0], targets(kind)

    def flat(state):
        return small(kind, dropout=0.3, early_stopping=True, random_state=state).fit(x, y).model_.flat

    before = np.random.get_state()[1].copy()  # noqa: NPY002 - that it is left alone is what is tested
    assert same_bits(flat(3), flat(3))
    assert same_bits(flat(np.random.RandomState(3)), flat(np.random.RandomState(3)))
    assert same_bits(flat(np.random.default_rng(3)), flat(np.random.default_rng(3)))
    assert not same_bits(flat(3), flat(4))
    assert not same_bits(flat(None), flat(None))
    state = np.random.RandomState(3)
    assert not same_bits(flat(state), flat(state))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_an_optimiser_is_copied_so_that_every_fit_starts_anew():
    x, y, _ = ragged()
    optimiser = nn.AdamW(nn.Cosine(0.02), weight_decay=0.1)
    classifier = small(optimiser=optimiser)
    first = classifier.fit(x, y).model_.flat.copy()
    assert optimiser.steps == 0
    assert same_bits(classifier.fit(x, y).model_.flat, first)
    assert classifier.history_["learning_rate"][0] <= 0.02


@pytest.mark.parametrize("kind", BOTH)
def test_ctrl_c_leaves_an_estimator_that_predicts_with_the_best_weights(kind, monkeypatch):
    x, y = ragged()[0], targets(kind)
    expected = outputs(small(kind, epochs=3).fit(x, y), x)
    judge = nn.fit.__globals__["Trainer"]._judge

    def interrupt(self, row):
        if self.epoch == 4:
            raise KeyboardInterrupt
        judge(self, row)

    monkeypatch.setattr(nn.fit.__globals__["Trainer"], "_judge", interrupt)
    estimator = small(kind, epochs=50)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(x, y)
    assert estimator.history_.stopped == "interrupted"
    assert estimator.history_.best_epoch == 3
    assert estimator.n_iter_ == 4
    assert same_bits(outputs(estimator, x), expected)
    estimator._save_parts()


@pytest.mark.parametrize("kind", BOTH)
def test_resume_goes_on_bit_for_bit(kind, tmp_path):
    x, y = ragged()[0], targets(kind)
    settings = {"dropout": 0.2, "early_stopping": True, "validation_fraction": 0.25, "patience": 50}
    expected = small(kind, epochs=6, **settings).fit(x, y)
    small(kind, epochs=3, checkpoint=tmp_path / "run", **settings).fit(x, y)
    resumed = small(kind, epochs=6, checkpoint=tmp_path / "run", resume=True, **settings).fit(x, y)
    assert same_bits(resumed.model_.flat, expected.model_.flat)
    assert resumed.history_["loss"] == expected.history_["loss"]
    with pytest.raises(ValueError, match="belongs to a run with other data, another model or other settings"):
        small(kind, epochs=6, checkpoint=tmp_path / "run", resume=True, **settings).fit(x[::-1], y[::-1])


# --------------------------------------------------------------------------------------- scikit-learn's machinery


def test_grid_search_over_a_pipeline_on_ragged_sequences():
    x, y, _ = ragged()
    pipeline = Pipeline([("double", FunctionTransformer(doubled)), ("gru", small())])
    grid = {"double": [FunctionTransformer(doubled), "passthrough"], "gru__hidden_size": [2, 4]}
    search = GridSearchCV(
        pipeline, grid, cv=StratifiedKFold(2), scoring=("accuracy", "neg_log_loss"), refit="accuracy"
    )
    search.fit(x, y)
    assert len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_neg_log_loss"]).all()
    assert search.predict(x).shape == (24,)
    assert cross_val_score(small(GRURegressor), x, ragged()[2], cv=2).shape == (2,)


def doubled(x):
    return [2 * each for each in x]


@pytest.mark.parametrize("kind", BOTH)
def test_clone_and_pickle(kind):
    x, y = ragged()[0], targets(kind)
    settings = {"optimiser": nn.SGD(0.1, momentum=0.9), "activation": Activation("elu", alpha=0.5), "pool": "mean"}
    estimator = small(kind, **settings).fit(x, y)
    assert same_bits(outputs(pickle.loads(pickle.dumps(estimator)), x), outputs(estimator, x))
    assert same_bits(outputs(clone(estimator).fit(x, y), x), outputs(estimator, x))
    with pytest.raises(NotFittedError):
        clone(estimator).predict(x)


# ---------------------------------------------------------------------------------------------------------- saving


def saved_and_loaded(estimator):
    arrays, config = estimator._save_parts()
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    return type(estimator)._from_parts(
        {name: array.copy() for name, array in arrays.items()}, json.loads(json.dumps(config, allow_nan=False))
    )


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("form", ["ragged", "table", "frame"])
def test_what_was_saved_predicts_the_same_bits(kind, form):
    x = ragged()[0] if form == "ragged" else np.random.default_rng(0).standard_normal((24, 5))
    x = pd.DataFrame(x, columns=list("abcde")) if form == "frame" else x
    estimator = small(kind, num_layers=2, bidirectional=True, dropout=0.1, pool="max", early_stopping=True)
    loaded = saved_and_loaded(estimator.fit(x, targets(kind)))
    assert same_bits(outputs(loaded, x), outputs(estimator, x))
    assert same_bits(loaded.predict(x), estimator.predict(x))
    assert loaded.get_params() == estimator.get_params()
    assert loaded.n_features_in_ == estimator.n_features_in_
    assert getattr(loaded, "feature_names_in_", None) is None or form == "frame"
    assert {**loaded.history_} == {**estimator.history_}
    assert loaded.history_.best_epoch == estimator.history_.best_epoch
    assert loaded.n_iter_ == estimator.n_iter_
    with pytest.raises(ValueError, match=r"features, but GRU|names should match"):
        loaded.predict(
            pd.DataFrame(np.ones((2, 7)), columns=list("gfedcba")) if form == "frame" else np.ones((2, 7))
        )
    assert same_bits(outputs(saved_and_loaded(loaded), x), outputs(estimator, x))
    assert same_bits(loaded.fit(x, targets(kind)).model_.flat, estimator.model_.flat)


def test_every_kind_of_argument_is_saved():
    settings = {
        "hidden_size": np.int64(4),
        "optimiser": nn.AdamW(nn.Cosine(0.02), weight_decay=0.1),
        "activation": Activation("elu", alpha=0.5),
        "gate_activation": ("sigmoid", Activation("hard_sigmoid")),
        "class_weight": {0: 1, 1: 2.5},
        "dtype": np.float64,
    }
    y = np.arange(24) % 2
    loaded = saved_and_loaded(small(**settings).fit(ragged()[0], y)).get_params()
    assert loaded["hidden_size"] == 4
    assert loaded["optimiser"].config() == settings["optimiser"].config()
    assert loaded["activation"] == settings["activation"]
    assert loaded["gate_activation"] == settings["gate_activation"]
    assert loaded["class_weight"] == settings["class_weight"]
    assert loaded["dtype"] == "float64"
    by_schedule = small(learning_rate=nn.Cosine(0.02), random_state=np.random.RandomState(0))
    loaded = saved_and_loaded(by_schedule.fit(ragged()[0], y)).get_params()
    assert loaded["learning_rate"] == nn.Cosine(0.02)
    assert loaded["random_state"] is None


def test_a_checkpoints_path_is_saved_as_text(tmp_path):
    estimator = small(checkpoint=Path(tmp_path / "run")).fit(*ragged()[:2])
    assert saved_and_loaded(estimator).checkpoint == str(tmp_path / "run")


@pytest.mark.parametrize(
    "labels",
    [
        ["low", "high"],
        [7, -2],
        [True, False],
        [2.0, 3.0],
        np.array(["a", "b"], object),
        np.array([1, 2], np.uint8),
    ],
)
def test_classes_are_saved_with_their_dtype(labels):
    y = np.asarray(labels)[np.arange(24) % 2]
    estimator = small().fit(ragged()[0], y)
    loaded = saved_and_loaded(estimator)
    assert loaded.classes_.dtype == estimator.classes_.dtype
    assert loaded.classes_.tolist() == estimator.classes_.tolist()


def test_what_cannot_be_saved_says_so():
    estimator = small().fit(*ragged()[:2])
    estimator.set_params(progress=lambda: None)
    with pytest.raises(
        TypeError, match="progress must be something that a file can hold, to be saved; got <function"
    ):
        estimator._save_parts()
    estimator = small().fit(ragged()[0], np.array(["2020", "2021"], "datetime64[Y]")[np.arange(24) % 2])
    with pytest.raises(TypeError, match="classes must be text, whole numbers, numbers or booleans, to be saved"):
        estimator._save_parts()


def test_parts_that_do_not_fit():
    arrays, config = small().fit(*ragged()[:2])._save_parts()
    config["parameters"]["hidden_sizes"] = 3
    with pytest.raises(
        ValueError, match=r"GRUClassifier takes .*; got 'hidden_sizes'. Did you mean 'hidden_size'\?"
    ):
        GRUClassifier._from_parts(arrays, config)
    config["parameters"] = {}
    with pytest.raises(ValueError, match=r"mean must have shape \(2,\) because that is how many features X has"):
        GRUClassifier._from_parts(arrays | {"mean": np.zeros(3)}, config)
    config["parameters"] = {"hidden_size": {"kind": "module", "value": "os"}}
    with pytest.raises(ValueError, match="kind of argument must be one of optimiser, schedule, activation, tuple"):
        GRUClassifier._from_parts(arrays, config)
