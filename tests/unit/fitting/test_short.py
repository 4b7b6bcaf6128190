"""The short form: what repeats comes first, rows without data add nothing, scans tell it."""

from __future__ import annotations

from dataclasses import replace

import builders
import numpy as np
import pytest
import torch
from shard_builders import make_shards

from model.checkpoint import load_encoder
from model.embed import embed_series
from model.encoder import build_encoder
from model.errors import ConfigError
from model.fitting.data import open_data
from model.fitting.settings import FitConfig
from model.fitting.short import _apart, _directions, _joined, _Sums, add_short_form
from model.fitting.whitening import without_fitted
from model.layers import ShortForm
from model.spec import EncoderSpec, InputSpec

SPEC = EncoderSpec(dim=16, depth=1, heads=2)


def data_of(*folders, **settings):
    settings = {"short_by": "repeated"} | settings
    config = FitConfig(shards=tuple(map(str, folders)), **settings)
    return open_data(config, InputSpec(), simulation=None, seed=1)


def people(rng, n_subjects=200, n_sessions=2, n_windows=3, lacking=False):
    """Windows (W, 2 rows, 4): 0 of row 0 is the subject, 1 the session, the rest is noise."""
    for number in range(n_subjects):
        own = rng.normal()
        sessions = []
        for _ in range(n_sessions):
            values = rng.normal(size=(n_windows, 2, 4))
            values[:, 0, 0] = 3 * own + 0.1 * values[:, 0, 0]
            values[:, 0, 1] = 3 * rng.normal() + 0.1 * values[:, 0, 1]
            if lacking and number % 2:
                values[:, 1] = np.nan
            sessions.append([values])
        yield sessions


def sums_of(sessions_of_people, apart=2):
    sums = _Sums(2, 4)
    for sessions in sessions_of_people:
        sums.add_subject(sessions, [apart] * len(sessions))
    return sums


@pytest.mark.parametrize("lacking", [False, True])
def test_what_repeats_in_another_session_comes_first(lacking):
    sums = sums_of(people(np.random.default_rng(0), lacking=lacking))
    _, total, repeated = sums.moments()
    assert total[0, 0] == pytest.approx(9, rel=0.3)
    assert total[1, 1] == pytest.approx(9, rel=0.3)
    assert repeated[0, 0] == pytest.approx(9, rel=0.3)
    assert abs(repeated[1, 1]) < 2
    found, share = _directions(repeated, total, 2, shrinkage=0.01)
    assert np.abs(found[:, 0]).argmax() == 0
    assert share[0] > 0.9
    assert abs(share[1]) < 0.3


def test_of_a_subject_with_one_session_windows_that_do_not_overlap_are_paired():
    rng = np.random.default_rng(0)
    sums = sums_of(people(rng, n_sessions=1))
    assert sums.n_subjects == 200
    assert sums.n_pairs[0, 0] == pytest.approx(200)
    assert sums_of(people(rng, n_sessions=1), apart=3).n_subjects == 0


def test_windows_overlap_until_one_begins_where_the_first_has_ended():
    assert _apart(np.array([0.0, 90.0, 180.0, 270.0]), 200.0) == 3
    assert _apart(np.array([0.0, 100.0, 200.0]), 200.0) == 2
    assert _apart(np.array([0.0, 34.0]), 200.0) == 2


def test_cohorts_weigh_the_same_and_their_difference_does_not_repeat():
    few, many = (
        sums_of(people(np.random.default_rng(s), n_subjects=n)) for s, n in ((1, 20), (2, 200))
    )
    (_, total, repeated), n_subjects = _joined([few, many], by_windows=False)
    assert n_subjects == 220
    each = [sums.moments() for sums in (few, many)]
    np.testing.assert_allclose(total, (each[0][1] + each[1][1]) / 2)
    np.testing.assert_allclose(repeated, (each[0][2] + each[1][2]) / 2)
    (_, by_windows, _), _ = _joined([few, many], by_windows=True)
    np.testing.assert_allclose(by_windows, (each[0][1] + 10 * each[1][1]) / 11)


def test_a_row_without_data_stands_at_its_mean():
    short = ShortForm(2, 3, 4)
    torch.nn.init.normal_(short.mean)
    torch.nn.init.normal_(short.matrix)
    means = torch.randn(5, 2, 3)
    lacking, at_mean = means.clone(), means.clone()
    lacking[:, 1] = torch.nan
    at_mean[:, 1] = short.mean[1]
    torch.testing.assert_close(short(lacking), short(at_mean))
    expected = torch.einsum("bnd,nds->bs", means - short.mean, short.matrix)
    torch.testing.assert_close(short(means), expected)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An encoder with a short form, fitted to cortex, and what it was made of."""
    encoder = build_encoder(SPEC, seed=0).requires_grad_(requires_grad=False).eval()
    folder = make_shards(tmp_path_factory.mktemp("d") / "s", 24, missing=slice(400, 457))
    short, told = add_short_form(encoder, data_of(folder, short=1))
    return encoder, short, told


def test_it_is_read_out_of_a_checkpoint_where_it_is_asked_for(made, tmp_path):
    encoder, short, told = made
    assert told["n_subjects"] == 24
    loaded = load_encoder(builders.make_checkpoint(tmp_path / "c", short))
    values = np.random.default_rng(0).normal(size=(230, 457))
    plain = embed_series(values, tr_s=2.0, encoder=loaded, readout=("networks",))
    found = embed_series(values, tr_s=2.0, encoder=loaded, readout=("short", "cls"))
    assert plain.short is None
    assert found.short.shape == (4, 16)
    assert found.scan_vector().shape == (32,)
    means = torch.tensor(found.networks) - loaded.short.mean
    expected = torch.einsum("wnd,nds->ws", means, loaded.short.matrix)
    np.testing.assert_allclose(found.short, expected, atol=1e-5)
    state = without_fitted(loaded).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in encoder.state_dict().items())


def test_rows_that_no_scan_has_and_rows_that_this_scan_lacks_add_nothing(made, tmp_path):
    _, short, _ = made
    loaded = load_encoder(builders.make_checkpoint(tmp_path / "c", short))
    assert (short.short.matrix[7:] == 0).all()
    values = np.random.default_rng(0).normal(size=(230, 457))
    values[:, 400:] = np.nan
    found = embed_series(values, tr_s=2.0, encoder=loaded, readout=("short",))
    assert np.isfinite(found.scan_vector()).all()
    assert np.isfinite(found.filled_vector()).all()


def test_random_directions_keep_distances_and_need_no_scans(made):
    encoder, _, _ = made
    with pytest.raises(ConfigError, match="expected whitened tokens"):
        add_short_form(encoder, data_of(short=1, short_by="random"))
    white = build_encoder(replace(SPEC, whitened=True), seed=0).eval()
    all_of_it, _ = add_short_form(white, data_of(short=9, short_by="random"))
    means = torch.randn(5, 9, 16)
    expected = torch.cdist(means.flatten(1), means.flatten(1))
    torch.testing.assert_close(torch.cdist(*2 * [all_of_it.short(means)]), expected)
    one, other = (
        add_short_form(white, replace(data_of(short=2, short_by="random"), seed=s))[0].short
        for s in (1, 2)
    )
    gram = one.matrix.flatten(0, 1).T @ one.matrix.flatten(0, 1)
    torch.testing.assert_close(gram, torch.eye(32), atol=1e-5, rtol=0)
    assert not torch.equal(one.matrix, other.matrix)
    with pytest.raises(ConfigError, match="at most 144 numbers"):
        add_short_form(white, data_of(short=10, short_by="random"))


def test_what_cannot_be_had_is_refused(made, tmp_path):
    encoder, _, _ = made
    values = np.random.default_rng(0).normal(size=(230, 457))
    loaded = load_encoder(builders.make_checkpoint(tmp_path / "plain", encoder))
    with pytest.raises(ConfigError, match="asks for a short form"):
        embed_series(values, tr_s=2.0, encoder=loaded, readout=("short",))
    with pytest.raises(ConfigError, match="needs stored scans"):
        add_short_form(encoder, data_of(short=1))
    few = data_of(make_shards(tmp_path / "few", 3), short=4)
    with pytest.raises(ConfigError, match=r"directions vary .* 64 numbers"):
        add_short_form(encoder, few)
    alone = data_of(make_shards(tmp_path / "alone", 12, n_sessions=1), short=1)
    with pytest.raises(ConfigError, match="nobody has two sessions"):
        add_short_form(encoder, alone)
