"""Methods: right numbers, nothing learned from those who are scored."""

from __future__ import annotations

from dataclasses import asdict, replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from scipy import stats

from model.errors import ConfigError
from model.probing import head
from model.probing.head import batches, train_probe
from model.probing.methods import (
    features_of,
    fit_linear,
    learn_combat,
    learn_residuals,
    learn_scaling,
    learn_tangent,
    make_methods,
)
from model.probing.options import METHODS
from model.probing.participants import Labels
from model.probing.probe import fit_all
from model.probing.samples import (
    Learned,
    ProbeError,
    Samples,
    UndefinedError,
    refuse_copies,
)
from model.probing.scoring import evaluate, measure, merit
from model.probing.splits import LeakError, draw_split
from model.probing.unfinished import Unfinished

N, P = 24, 5
needs_combat = pytest.mark.skipif(
    find_spec("combatlearn") is None, reason="combatlearn is not installed"
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def subjects(n=N):
    return tuple(f"sub-{i:02d}" for i in range(n))


def samples(values, *, per_subject=1):
    names = subjects(len(values) // per_subject)
    owners = tuple(name for name in names for _ in range(per_subject))
    return Samples(values=np.asarray(values, np.float32), subjects=owners, scans=owners)


def series(rng, n=N, n_frames=40):
    mix = np.eye(P) + 0.3 * rng.normal(size=(n, P, P))
    return [rng.normal(size=(n_frames, P)) @ mix[i] for i in range(n)]


def covariances(rng, n=N):
    return np.array([np.cov(x.T) + 0.1 * np.eye(P) for x in series(rng, n)])


def features(rng, labels):
    """Features of every kind that hold the label weakly."""
    offset = labels.of(labels.subjects)[:, None]

    def around(n_features, per_subject=1):
        rows = np.repeat(offset, per_subject, axis=0)
        return rows + rng.normal(size=(len(rows), n_features))

    fc = 0.3 * np.tanh(around(P * (P - 1) // 2))
    return {
        "crops": samples(around(6, 3), per_subject=3),
        "random-crops": samples(around(6, 3), per_subject=3),
        "random-whitened-crops": samples(around(6, 3), per_subject=3),
        "fc": samples(fc),
        "covariance": samples(covariances(rng)),
        "covariates": samples(around(2)),
    }


def cohort(task="classification"):
    values = {s: float(i % 2) + (0.01 * i if task == "regression" else 0) for i, s in
              enumerate(subjects())}  # fmt: skip
    classes = ("a", "b") if task == "classification" else ()
    return Labels(column="x", task=task, classes=classes, values=values)


def methods_of(labels, features, names=METHODS):
    n_outputs = len(labels.classes) or 1
    return make_methods(names, features, n_outputs=n_outputs, epochs=3, seed=0)


def split_of(labels):
    return draw_split(labels, (0.5, 0.25, 0.25), seed=0)


# Tangent space


def test_tangent_space_of_covariances_is_nilearn_s_of_their_series(rng):
    from nilearn.connectome import ConnectivityMeasure

    scans = series(rng)
    measure_ = ConnectivityMeasure(kind="tangent", vectorize=True, standardize=False)
    expected = measure_.fit(scans[:16]).transform(scans[16:])
    matrices = np.array([measure_.cov_estimator_.fit(x).covariance_ for x in scans])
    learned = learn_tangent(samples(matrices[:16]))
    ours = learned.apply(matrices[16:].astype(np.float32))
    np.testing.assert_allclose(ours, expected, atol=2e-5)
    np.testing.assert_array_equal(learned.apply(matrices[16:17].astype(np.float32)), ours[:1])


def test_tangent_reference_depends_on_the_training_subjects_alone(rng):
    matrices = covariances(rng)
    few, more = learn_tangent(samples(matrices[:12])), learn_tangent(samples(matrices))
    apart = np.abs(few.apply(matrices[:3]) - more.apply(matrices[:3])).max()
    assert apart > 1e-3
    assert few.seen == frozenset(subjects(12))


# Fits


def test_rotating_wide_features_changes_no_prediction(rng):
    from sklearn.linear_model import Ridge

    x, y = rng.normal(size=(12, 40)), rng.normal(size=12)
    train = samples(x[:8])
    scaling = learn_scaling(train, standardize=False)
    # Centred rows span one dimension less than there are.
    assert scaling.apply(train.values).shape[1] == 7
    (model,) = fit_linear(
        train.with_values(scaling.apply(train.values)), y[:8], [1.0], n_outputs=1
    )
    centred = x - x[:8].mean(axis=0)
    centred /= np.sqrt((centred[:8] ** 2).sum(axis=1).mean())
    expected = Ridge(alpha=1.0).fit(centred[:8], y[:8]).predict(centred[8:])
    ours = model.apply(scaling.apply(x[8:].astype(np.float32)))
    np.testing.assert_allclose(ours[:, 0], expected, rtol=1e-3, atol=1e-4)


def test_no_batch_holds_a_single_sample():
    generator = torch.Generator().manual_seed(0)
    sizes = [len(batch) for batch in batches(17, size=4, generator=generator)]
    assert sorted(sizes) == [4, 4, 4, 5]


def test_training_crops_that_leave_one_over_do_not_break_the_probe(rng):
    x = samples(rng.normal(size=(17, 4)))
    (learned,) = train_probe(x, np.arange(17.0) % 2, [0.01], n_outputs=2, epochs=1, seed=0)
    assert np.isfinite(learned.apply(x.values)).all()


def test_the_probe_is_the_same_with_the_same_seed_whatever_the_global_one(rng):
    x, y = samples(rng.normal(size=(20, 4))), np.arange(20.0) % 2
    (first,) = train_probe(x, y, [0.01], n_outputs=2, epochs=2, seed=5)
    torch.default_generator.manual_seed(99)
    (again,) = train_probe(x, y, [0.01], n_outputs=2, epochs=2, seed=5)
    np.testing.assert_array_equal(first.apply(x.values), again.apply(x.values))


def test_a_probe_that_diverges_has_no_score(rng):
    labels = cohort()
    material = features(rng, labels)
    (method,) = methods_of(labels, material, ["probe"])
    huge = replace(method.samples, values=method.samples.values * np.float32(np.inf))
    row = evaluate(replace(method, samples=huge), labels, split_of(labels))
    assert row.status == "failed"
    assert "diverged" in row.reason
    assert row.scores == {}


def test_a_fit_that_does_not_converge_has_no_score(rng, monkeypatch):
    monkeypatch.setattr("model.probing.methods.MAX_ITERATIONS", 1)
    labels = cohort()
    (method,) = methods_of(labels, features(rng, labels), ["linear"])
    row = evaluate(method, labels, split_of(labels))
    assert (row.status, row.scores) == ("failed", {})
    assert "did not converge" in row.reason


# Leaks


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("name", METHODS)
def test_what_is_learned_does_not_depend_on_the_test_subjects(rng, name, task):
    labels = cohort(task)
    split = split_of(labels)
    (method,) = methods_of(labels, features(rng, labels), [name])
    other = method.samples.values.copy()
    tested = [i for i, s in enumerate(method.samples.subjects) if s in split.test]
    other[tested] = other[tested] * 2 + (0 if name.startswith("tangent") else 0.1)
    flipped = replace(
        labels, values={s: 1 - v if s in split.test else v for s, v in labels.values.items()}
    )
    row = evaluate(method, labels, split)
    changed = evaluate(replace(method, samples=method.samples.with_values(other)), flipped, split)
    assert row.status == changed.status == "ok"
    assert (row.setting, row.validation) == (changed.setting, changed.validation)


def test_scaling_learned_from_all_subjects_is_refused(rng):
    labels = cohort()
    material = features(rng, labels)
    (method,) = methods_of(labels, material, ["linear"])

    def leaky(_train):
        return learn_scaling(method.samples, standardize=True)

    with pytest.raises(LeakError, match="had a part in what scores them"):
        evaluate(replace(method, prepare=(leaky,)), labels, split_of(labels))


def test_features_selected_on_all_subjects_are_refused(rng):
    labels = cohort()
    (method,) = methods_of(labels, features(rng, labels), ["linear"])
    targets = labels.of(method.samples.subjects)

    def leaky(_train):
        best = np.argsort([-abs(stats.pearsonr(c, targets)[0]) for c in method.samples.values.T])
        return Learned(apply=lambda x: x[:, best[:2]], seen=frozenset(method.samples.subjects))

    with pytest.raises(LeakError, match="had a part"):
        evaluate(replace(method, prepare=(leaky,)), labels, split_of(labels))


def test_a_model_trained_on_a_test_subject_is_refused(rng):
    labels = cohort()
    (method,) = methods_of(labels, features(rng, labels), ["fc-svm"])

    def leaky(_train, _targets, penalties):
        everybody = method.samples
        return fit_linear(everybody, labels.of(everybody.subjects), penalties, n_outputs=2)

    with pytest.raises(LeakError, match="had a part"):
        evaluate(replace(method, prepare=(), fit=leaky), labels, split_of(labels))


def test_one_scan_under_two_subjects_is_refused_by_name():
    scans = [("a", "a_ses-1", b"x"), ("b", "b_ses-1", b"y"), ("c", "c_ses-2", b"x")]
    with pytest.raises(LeakError, match="a_ses-1 and c_ses-2"):
        refuse_copies(scans)


def test_the_hash_of_the_data_does_not_depend_on_its_order():
    scans = [("a", "a", b"x"), ("b", "b", b"y")]
    assert refuse_copies(scans) == refuse_copies(scans[::-1])
    assert refuse_copies(scans) != refuse_copies(scans[:1])


# Scores


def test_scores_of_a_subject_are_averaged_before_he_is_classified():
    labels = cohort()
    values = np.repeat(labels.of(labels.subjects), 3)[:, None].astype(np.float32)
    # Two of three crops of each subject are barely wrong, one is clearly right.
    for i in range(len(values)):
        values[i] = (values[i] * 2 - 1) * (3.0 if i % 3 == 0 else -1.0)
    crops = samples(values, per_subject=3)
    (method,) = methods_of(labels, {"crops": crops}, ["probe"])

    def known(train, _targets, rates):
        seen = frozenset(train.subjects)
        return [Learned(apply=lambda x: np.concatenate([-x, x], axis=1), seen=seen)] * len(rates)

    row = evaluate(replace(method, fit=known), labels, split_of(labels))
    assert row.scores["balanced_accuracy"] == 1.0
    assert row.validation == pytest.approx(1 / 3)


def test_regression_is_scored_in_the_units_of_the_target(rng):
    labels = cohort("regression")
    far = replace(labels, values={s: 100 + 10 * v for s, v in labels.values.items()})
    (method,) = methods_of(far, features(rng, labels), ["linear"])
    row = evaluate(method, far, split_of(far))
    predicted = np.array(list(row.predictions.values()))[:, 0]
    assert ((predicted > 80) & (predicted < 130)).all()
    assert row.scores["mae"] > 0.1


def test_classification_metrics_of_a_known_case():
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    values = measure("classification", scores, np.array([0.0, 0.0, 0.0, 1.0]), of="test")
    assert values["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert values["auc"] == pytest.approx(2 / 3)
    assert values["accuracy"] == 0.75
    assert values["f1"] == pytest.approx((0.8 + 2 / 3) / 2)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_settings_are_chosen_by_the_metric_that_is_shown(rng, task):
    targets = np.arange(30.0) % (3 if task == "classification" else 30)
    scores = rng.normal(size=(30, 3 if task == "classification" else 1))
    whole = measure(task, scores, targets, of="test")
    main = "balanced_accuracy" if task == "classification" else "r2"
    assert merit(task, scores, targets, of="test") == pytest.approx(whole[main])
    if task == "regression":
        by_error = merit(task, scores, targets, of="test", regress_by="mae")
        assert by_error == pytest.approx(-whole["mae"])


def test_regression_metrics_of_a_known_case():
    values = measure("regression", np.array([[1.0], [2.0], [4.0]]), np.arange(1.0, 4.0), of="test")
    assert values["r2"] == pytest.approx(0.5)
    assert values["r"] == pytest.approx(stats.pearsonr([1, 2, 4], [1, 2, 3])[0])
    assert values["mae"] == pytest.approx(1 / 3)


def test_a_constant_prediction_has_no_correlation():
    values = measure("regression", np.ones((3, 1)), np.arange(3.0), of="test")
    assert "r" not in values
    assert values["r2"] == 0.0


def test_a_test_set_of_one_class_is_not_scored():
    with pytest.raises(UndefinedError, match="test: 1 of at least 2"):
        measure("classification", np.ones((3, 2)), np.zeros(3), of="test")


def test_scores_that_are_not_finite_are_an_error():
    with pytest.raises(ProbeError, match="not finite"):
        measure("regression", np.array([[np.nan], [1.0]]), np.arange(2.0), of="test")


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_probes_of_all_rates_are_what_autograd_makes_of_the_head(rng, n_outputs):
    x = samples(rng.normal(2.0, 3.0, size=(40, 7)))
    targets = rng.normal(size=40) if n_outputs == 1 else np.arange(40.0) % n_outputs
    rates = (0.03, 0.001)
    learned = train_probe(x, targets, rates, n_outputs=n_outputs, epochs=4, seed=3)
    y = torch.from_numpy(targets).float() if n_outputs == 1 else torch.from_numpy(targets).long()
    for rate, ours in zip(rates, learned, strict=True):
        module = head.make_head(7, n_outputs, seed=3)
        optimizer = torch.optim.SGD(module.parameters(), lr=rate, momentum=head.MOMENTUM)
        generator = torch.Generator().manual_seed(3)
        for _ in range(4):
            for batch in batches(40, size=5, generator=generator):
                loss = head.loss_of(module(torch.from_numpy(x.values)[batch]), y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        expected = module.eval()(torch.from_numpy(x.values)).detach().numpy()
        np.testing.assert_allclose(ours.apply(x.values), expected, rtol=1e-4, atol=1e-5)


# Covariates and sites


def test_residuals_have_nothing_to_do_with_the_covariates_they_were_learned_with(rng):
    age = rng.normal(size=(N, 2))
    x = samples(age @ rng.normal(size=(2, 4)) + rng.normal(size=(N, 4)))
    by_subject = dict(zip(x.subjects, age, strict=True))
    learned = learn_residuals(x, covariates=by_subject)
    left = learned.on(x)
    assert np.abs((age - age.mean(axis=0)).T @ left).max() < 1e-4
    np.testing.assert_allclose(left.mean(axis=0), x.values.mean(axis=0), atol=1e-5)


def test_covariates_of_the_tested_do_not_change_what_is_learned(rng):
    age = rng.normal(size=(N, 1))
    x = samples(age @ np.ones((1, 3)) + 0.1 * rng.normal(size=(N, 3)))
    covariates = dict(zip(x.subjects, age, strict=True))
    train = x.of(subjects()[:16])
    learned = learn_residuals(train, covariates=covariates)
    assert learned.seen == set(subjects()[:16])
    first = learned.on(train)
    other = covariates | {s: np.array([99.0]) for s in subjects()[16:]}
    np.testing.assert_array_equal(learn_residuals(train, covariates=other).on(train), first)
    with pytest.raises(LeakError):
        learned.on_held_out(train)
    assert np.abs(learned.on_held_out(x.of(subjects()[16:]))).max() < 1


def test_as_many_covariates_as_subjects_are_refused(rng):
    x = samples(rng.normal(size=(4, 3)))
    covariates = {s: rng.normal(size=3) for s in x.subjects}
    with pytest.raises(ProbeError, match=r"3 covariates .* of 4 training subjects"):
        learn_residuals(x, covariates=covariates)


@needs_combat
def test_combat_takes_the_offset_and_scale_of_a_site_out_of_unseen_people(rng):
    place = np.arange(N) % 2
    x = samples(rng.normal(size=(N, 6)) * (1 + 4 * place[:, None]) + 7 * place[:, None])
    x.values[:, 5] = 0  # as the last dimension of a whitened network
    sites = {s: "ab"[i % 2] for i, s in enumerate(x.subjects)}
    learned = learn_combat(x.of(subjects()[:16]), sites=sites)
    left = learned.on_held_out(x.of(subjects()[16:]))
    assert np.abs(left[::2].mean() - left[1::2].mean()) < 1.5
    assert left[1::2, :5].std() < 2 * left[::2, :5].std()
    assert (left[:, 5] == 0).all()


@needs_combat
def test_features_that_do_not_vary_have_no_site_to_take_out():
    x = samples(np.ones((N, 3)))
    sites = {s: "ab"[i % 2] for i, s in enumerate(x.subjects)}
    assert (learn_combat(x, sites=sites).on(x) == 1).all()


@needs_combat
def test_a_site_that_nobody_was_trained_on_is_not_harmonized(rng):
    x = samples(rng.normal(size=(N, 3)))
    sites = {s: "a" if i < 8 else "b" for i, s in enumerate(x.subjects)} | {subjects()[-1]: "c"}
    learned = learn_combat(x.of(subjects()[:16]), sites=sites)
    with pytest.raises(UndefinedError, match="no training subject is of c"):
        learned.on_held_out(x.of(subjects()[20:]))
    with pytest.raises(UndefinedError, match="one training sample only of c"):
        learn_combat(x, sites=sites)


def test_without_the_library_harmonization_is_refused_with_the_way_to_it(rng, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "combatlearn", None)
    x = samples(rng.normal(size=(4, 3)))
    sites = {s: "ab"[i % 2] for i, s in enumerate(x.subjects)}
    with pytest.raises(ConfigError, match="needs the library combatlearn"):
        learn_combat(x, sites=sites)


def test_adjustments_come_before_the_scaling_and_after_the_tangent_space(rng):
    labels = cohort()

    def adjust(train):
        return train

    names = ("probe", "tangent-linear", "covariates-linear")
    made = make_methods(
        names, features(rng, labels), n_outputs=2, epochs=1, seed=0, adjust=[adjust]
    )
    assert [m.prepare.index(adjust) for m in made[:2]] == [0, 1]
    assert len(made[1].prepare) == 3
    assert adjust not in made[2].prepare


def test_every_method_has_its_features(rng):
    assert {features_of(name) for name in METHODS} == set(features(rng, cohort()))


def test_rates_are_those_of_the_paper():
    assert head.RATES == (0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)


def test_a_split_that_is_drawn_twice_is_fitted_once_and_told_of_both(rng, tmp_path):
    """As of ten people, of whom there are not many splits; and when a stopped call goes on."""
    labels = cohort()
    methods = methods_of(labels, features(rng, labels), ["linear"])
    first, other = split_of(labels), draw_split(labels, (0.5, 0.25, 0.25), seed=1)
    splits = [first, other, replace(first, name="seed 7")]
    pieces = Unfinished(tmp_path, {}, overwrite=False)
    rows = fit_all(methods, labels, splits, pieces)
    assert [row.split for row in rows] == ["seed 0", "seed 1", "seed 7"]
    assert asdict(rows[2]) == asdict(rows[0]) | {"split": "seed 7"}
    assert len([*(tmp_path / "unfinished").glob("linear-*")]) == 2
    again = fit_all(methods, labels, splits, pieces)
    assert [asdict(row) for row in again] == [asdict(row) for row in rows]
