"""Fitted to stored cohorts, then distilled on them: a small cohort's whole way, with its card."""

from __future__ import annotations

import json

import pytest
import torch
from shard_builders import make_shards

import model.fitting.data
from model.checkpoint import load_encoder
from model.errors import ConfigError
from model.pretraining.adapt import AdaptationError
from model.pretraining.pretrain import run_pretraining
from model.pretraining.recipes import load_config
from model.shards.subjects import split_subjects, write_lists

RECIPE = """
[run]
name = "cohorts"
version = "1"
seed = 3
n_steps = 0
batch_size = 4
save_every = 1
readout = ["networks"]
init = "centred"
whitening = 0.2
[encoder]
dim = 16
depth = 1
heads = 2
[input]
[simulation]
[views]
pairing = "sessions"
[objective]
head_hidden = 16
head_out = 8
[optimizer]
learning_rate = 0.01
[fit]
shards = {shards}
subjects = "train.txt"
"""


@pytest.fixture(autouse=True, scope="module")
def _small():
    patch = pytest.MonkeyPatch()
    patch.setattr(model.fitting.data, "N_POPULATIONS", 2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    patch.undo()


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory):
    """Two, with lists: the cortex of one, all of the other."""
    folder = tmp_path_factory.mktemp("cohorts")
    return [
        make_shards(folder / "cortex", 12, missing=slice(400, 457)),
        make_shards(folder / "whole", 16),
    ]


@pytest.fixture(scope="module")
def recipe(cohorts, tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "fit.toml"
    path.write_text(RECIPE.format(shards=json.dumps([str(c) for c in cohorts])))
    return path


@pytest.fixture(scope="module")
def start(recipe, tmp_path_factory):
    return run_pretraining(recipe, tmp_path_factory.mktemp("start") / "out")


def distil(start, cohorts, out, *more, n_steps=4, report=lambda _line: None):
    """Distil on the cohorts from a checkpoint; whether it helped is not the question here."""
    first, *others = map(str, cohorts)
    overrides = (
        f"run.init={start}",
        f"data.shards={first}",
        f"data.more_shards={json.dumps(others)}",
        f"run.n_steps={n_steps}",
        "run.batch_size=4",
        "run.save_every=2",
        "run.fetch_every=1",
        "views.pairing=sessions",
        *more,
    )
    try:
        run_pretraining("adapt", out, overrides, report=report)
    except AdaptationError:
        assert (out / "checkpoint/card.json").exists()
    return load_encoder(out / "checkpoint")


def test_a_whitened_start_is_distilled_with_its_whitening_as_it_was(start, cohorts, tmp_path):
    before = load_encoder(start)
    after = distil(start, cohorts, tmp_path / "out", "run.fixed_whitening=true")
    assert torch.equal(before.whitening.matrix, after.whitening.matrix)
    assert torch.equal(before.whitening.mean, after.whitening.mean)
    assert not torch.equal(before.cls_token, after.cls_token)
    training = after.card.training
    assert training["parent"]["weights_sha256"] == before.card.weights_sha256
    assert training["fit"] == before.card.training["fit"]
    assert training["data"]["licence"] == "cortex: not stated; whole: not stated"
    assert after.card.source == (
        "trained by semantoks from cohorts 1 on stored parcel series (licence: cortex: not "
        "stated; whole: not stated), fitted to cortex (licence: not stated), whole (licence: not "
        "stated)"
    )


def test_the_whitening_is_trained_too_unless_it_is_fixed(start, cohorts, tmp_path):
    after = distil(start, cohorts, tmp_path / "out")
    assert not torch.equal(load_encoder(start).whitening.matrix, after.whitening.matrix)


def test_whitening_is_fitted_anew_after_the_last_step(start, cohorts, tmp_path):
    fit = (f"fit.shards={json.dumps([str(cohorts[1])])}", 'fit.subjects="train.txt"')
    after = distil(start, cohorts, tmp_path / "out", "run.whitening=0.5", *fit)
    told = after.card.training["fit"]
    assert told["shrinkage"] == 0.5
    assert list(told["cohorts"]) == ["whole"]
    assert not torch.equal(load_encoder(start).whitening.matrix, after.whitening.matrix)
    assert (after.whitening.matrix[..., -1] == 0).all()


def test_what_rows_weigh_stays_when_whitening_is_fitted_anew(recipe, cohorts, tmp_path):
    weigh = (
        "encoder.branches=['structured']",
        "fit.mixtures=[{rows=['Vis'], of=['parcels'], weight=0.25}]",
    )
    start = run_pretraining(recipe, tmp_path / "start", weigh)
    fit = (f"fit.shards={json.dumps([str(cohorts[1])])}", 'fit.subjects="train.txt"')
    after = distil(start, cohorts, tmp_path / "out", "run.whitening=0.2", *fit)
    for encoder in (load_encoder(start), after):
        sizes = encoder.whitening.matrix.norm(dim=(1, 2))
        assert float(sizes[0] / sizes[1]) == pytest.approx(0.25, rel=0.2)
    assert after.card.training["fit"]["settings"]["mixtures"][0]["weight"] == 0.25
    assert after.card.training["config"]["run"]["init"] == "checkpoint checkpoint"
    assert str(tmp_path) not in str(after.card.training)


def test_a_run_that_was_killed_ends_with_the_weights_of_one_that_was_not(start, cohorts, tmp_path):
    def kill(line):
        if line.startswith("step 3"):
            raise KeyboardInterrupt

    whole = distil(start, cohorts, tmp_path / "whole", "run.fixed_whitening=true")
    with pytest.raises(KeyboardInterrupt):
        distil(start, cohorts, tmp_path / "cut", "run.fixed_whitening=true", report=kill)
    resumed = distil(start, cohorts, tmp_path / "cut", "run.fixed_whitening=true")
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_run_is_not_resumed_on_other_scans_than_it_was_to_be_fitted_to(recipe, tmp_path):
    folder = make_shards(tmp_path / "own", 12)
    override = (f'fit.shards=["{folder}"]',)
    run_pretraining(recipe, tmp_path / "out", override)
    (folder / "train.txt").unlink()
    (folder / "validation.txt").unlink()
    (folder / "test.txt").unlink()
    subjects = [f"sub-{i:02d}" for i in range(12)]
    write_lists(folder, split_subjects(subjects, validation=0.1, test=0.2, seed=2))
    with pytest.raises(ConfigError, match="the fit of the run have changed"):
        run_pretraining(recipe, tmp_path / "out", override)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("fit.mixtures=[{rows=['Brain'], of=['whitened'], shrinkage=0.1}]", "run.init=random"),
            'needs run.init = "centred"',
        ),
        (("run.fixed_whitening=true",), "is not whitened"),
        (
            (
                "encoder.branches=['structured']",
                "fit.mixtures=[{rows=['Nowhere'], of=['whitened'], shrinkage=0.1}]",
            ),
            "no such group or row: Nowhere",
        ),
        (("fit.simulated=2",), "simulated 2 .expected a finite number from 0 to 1"),
        (("fit.weigh=people",), "weigh 'people'"),
    ],
)
def test_a_fit_that_cannot_be_is_refused(recipe, tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        run_pretraining(recipe, tmp_path / "out", overrides)


def test_rows_weigh_nothing_without_whitening(cohorts, tmp_path):
    text = RECIPE.format(shards=json.dumps([str(c) for c in cohorts]))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text.replace("whitening = 0.2\n", ""))
    mixture = "fit.mixtures=[{rows=['Vis'], of=['parcels'], weight=0.5}]"
    with pytest.raises(ConfigError, match=r"needs run\.whitening"):
        load_config(recipe, overrides=("encoder.branches=['structured']", mixture))


def test_test_subjects_are_not_fitted_to_unseen(start, cohorts, tmp_path):
    """The check of an adaptation would be on scans that the whitening has seen."""
    with pytest.raises(ConfigError, match=r"whose test subjects .* is checked on"):
        distil(
            start,
            cohorts,
            tmp_path / "out",
            "run.whitening=0.3",
            f"fit.shards={json.dumps([str(cohorts[1])])}",
        )


def test_a_section_without_anything_to_fit_is_refused(start, cohorts):
    overrides = (f"run.init={start}", f"data.shards={cohorts[0]}", "fit.simulated=0.1")
    with pytest.raises(ConfigError, match="nothing is to be fitted"):
        load_config(model.pretraining.pretrain.recipe_path("adapt"), overrides=overrides)


def test_a_short_form_is_fitted_last_and_dropped_where_training_goes_on(recipe, cohorts, tmp_path):
    short = ("fit.short=1", "fit.short_by=repeated", 'run.readout=["short"]')
    made = load_encoder(run_pretraining(recipe, tmp_path / "short", short))
    assert made.card.readout == ("short",)
    assert made.card.training["fit"]["short"]["n_subjects"] > 10
    readout = 'run.readout=["networks"]'
    after = distil(tmp_path / "short/checkpoint", cohorts, tmp_path / "on", readout)
    assert after.short is None
    with pytest.raises(ConfigError, match=r"Set fit\.short"):
        distil(tmp_path / "short/checkpoint", cohorts, tmp_path / "other")
