"""What first weights mix: exact, and only where it is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from shard_builders import make_shards

import model.fitting.data
from model.encoder import build_encoder
from model.errors import ConfigError
from model.fitting.data import open_data
from model.fitting.mixtures import directions, mean_correlation, mix, mix_parcels
from model.fitting.settings import FitConfig, Mixture, mixture_of_rows
from model.networks import network_columns
from model.partition.groups import Group
from model.partition.named import partition
from model.pretraining.untrained import pass_no_constant
from model.spec import EncoderSpec, InputSpec

SPEC = EncoderSpec(dim=48, depth=1, heads=2, branches=("structured",))


@pytest.fixture(autouse=True)
def _few_populations(monkeypatch):
    monkeypatch.setattr(model.fitting.data, "N_POPULATIONS", 2)


def whitened(*rows):
    return Mixture(rows=rows, of=("whitened",), shrinkage=0.1)


def high_pass():
    encoder = build_encoder(SPEC, seed=0).eval()
    pass_no_constant(encoder)
    return encoder


def data_of(*folders, **settings):
    config = FitConfig(shards=tuple(map(str, folders)), **settings)
    return open_data(config, InputSpec(), simulation=None, seed=1)


@pytest.mark.parametrize(("row", "rank"), [(0, 61), (0, 5), (7, 50), (8, 7)])
def test_channels_show_orthogonal_mixtures_of_the_directions(row, rank):
    """Of more parcels than channels, of few directions, and of several heads a parcel."""
    before, after = high_pass(), high_pass()
    conv = after.tokenizers[row].structured
    n_parcels = conv.skip.shape[1]
    generator = torch.Generator().manual_seed(1)
    along = torch.randn(n_parcels, rank, generator=generator, dtype=torch.float64)
    mix(conv, [along])
    coefficients = conv.projection.weight.view(48, n_parcels, -1).sum(dim=-1).double()
    coefficients = coefficients @ torch.linalg.pinv(along).T
    first = coefficients[: min(rank, 48)]
    torch.testing.assert_close(
        first @ first.T, torch.eye(len(first), dtype=torch.float64), atol=1e-4, rtol=0
    )
    # All that is filtered is what a single filter does to the mixtures.
    patches = torch.randn(3, n_parcels, 20, generator=generator)
    expected = _first_filter(before.tokenizers[row].structured, patches)
    mixed = torch.einsum("or,nr,bnt->bto", coefficients, along, expected.double()).float()
    torch.testing.assert_close(conv(patches) - conv.projection.bias, mixed, atol=2e-3, rtol=1e-3)


def _first_filter(conv, patches):
    """Filter each parcel by itself, with the filter that all have."""
    taps = conv.taps()[0, 0].flip(-1)
    before, after = (len(taps) - 1) // 2, len(taps) // 2
    padded = torch.nn.functional.pad(patches, (before, after))
    return padded.unfold(-1, len(taps), 1) @ taps + conv.skip[0, 0] * patches


def test_only_the_rows_that_are_named_change(tmp_path):
    before, after = high_pass(), high_pass()
    mix_parcels(after, data_of(make_shards(tmp_path / "s", 6), mixtures=(whitened("Limbic"),)))
    pairs = zip(before.state_dict().items(), after.state_dict().values(), strict=True)
    changed = {name for (name, a), b in pairs if not torch.equal(a, b)}
    assert changed == {"tokenizers.4.structured.projection.weight"}


def test_of_two_mixtures_of_a_row_the_last_counts(tmp_path):
    data = data_of(make_shards(tmp_path / "s", 6))
    parcels = Mixture(rows=("Vis",), of=("parcels",), weight=0.5)

    def mixed(*mixtures):
        encoder = high_pass()
        mix_parcels(encoder, replace(data, config=replace(data.config, mixtures=mixtures)))
        return encoder.tokenizers[0].structured.projection.weight

    assert torch.equal(mixed(whitened("Vis", "Limbic"), parcels), mixed(parcels))
    groups = SPEC.groups
    named = mixture_of_rows(groups, (whitened("Vis", "Limbic"), parcels))
    assert [None if m is None else m.weight for m in named[:5]] == [0.5, None, None, None, 1.0]


def test_a_row_that_there_is_not_is_refused_by_name(tmp_path):
    data = data_of(make_shards(tmp_path / "s", 6), mixtures=(whitened("Limbic", "Brain9"),))
    with pytest.raises(ConfigError, match="no such group or row: Brain9"):
        mix_parcels(high_pass(), data)


def test_correlation_is_the_mean_over_scans_and_the_simulators_where_no_scan_has_the_parcels(
    tmp_path,
):
    folder = make_shards(tmp_path / "s", 6, missing=slice(400, 457))
    data = data_of(folder)
    found = mean_correlation(data)
    (cohort,) = data.cohorts
    each = [np.corrcoef(cohort.shards.read(s)[:, :400].astype(float).T) for s in cohort.scans]
    np.testing.assert_allclose(found[:400, :400], np.mean(each, axis=0), atol=1e-8)
    assert (found[:400, 400:] == 0).all()
    simulated = mean_correlation(data_of())
    np.testing.assert_allclose(found[400:, 400:], simulated[400:, 400:])
    columns = network_columns("Subcortical")
    assert np.abs(found[np.ix_(columns, columns)]).mean() > 0.05


def test_cohorts_weigh_the_same_whatever_their_size(tmp_path):
    folders = [make_shards(tmp_path / "a", 8), make_shards(tmp_path / "b", 3, n_frames=200)]
    a, b, both = (mean_correlation(data_of(*f)) for f in (folders[:1], folders[1:], folders))
    np.testing.assert_allclose(both, (a + b) / 2, atol=1e-12)
    by_frames = mean_correlation(data_of(*folders, weigh="windows"))
    np.testing.assert_allclose(by_frames, (a * 1920 + b * 1200) / 3120, atol=1e-12)


def test_a_group_names_all_of_its_rows_and_a_row_itself(tmp_path):
    spec = replace(SPEC, groups=partition(["networks", "brain:2"]))
    data = data_of(make_shards(tmp_path / "s", 6), mixtures=(whitened("Brain"),))

    def changed_by(names):
        before, after = (build_encoder(spec, seed=0) for _ in range(2))
        for encoder in (before, after):
            pass_no_constant(encoder)
        mix_parcels(
            after, replace(data, config=replace(data.config, mixtures=(whitened(*names),)))
        )
        pairs = zip(before.tokenizers, after.tokenizers, spec.rows, strict=True)
        weights = [
            (row, a.structured.projection.weight, b.structured.projection.weight)
            for a, b, row in pairs
        ]
        return [row for row, a, b in weights if not torch.equal(a, b)]

    assert changed_by(("Brain",)) == ["Brain1", "Brain2"]
    assert changed_by(("Brain2", "Vis")) == ["Vis", "Brain2"]


def test_each_kind_has_its_part_of_the_channels_and_variance_1(tmp_path):
    data = data_of(make_shards(tmp_path / "s", 6))
    mixture = Mixture(
        rows=("Vis",), of=("parcels", "whitened", "components"), shrinkage=0.1, n_components=5
    )
    columns = network_columns("Vis")
    own = mean_correlation(data)[np.ix_(columns, columns)]
    after = high_pass()
    mix_parcels(after, replace(data, config=replace(data.config, mixtures=(mixture,))))
    conv = after.tokenizers[0].structured
    weights = conv.projection.weight.detach().view(48, 61, -1).sum(dim=-1).double().numpy()
    for i, along in enumerate(directions(own, mixture)):
        part = weights[16 * i : 16 * (i + 1)]
        np.testing.assert_allclose(part @ np.linalg.pinv(along).T @ along.T, part, atol=1e-6)
        assert np.trace(along.T @ own @ along) == pytest.approx(along.shape[1])
    variances = ((weights @ own) * weights).sum(axis=1)
    assert 0.5 < variances[:16].mean() < 2


def test_whitened_directions_have_the_variance_that_they_are_shrunk_to():
    own = np.corrcoef(np.random.default_rng(0).normal(size=(8, 20)))
    (along,) = directions(own, whitened("Vis"))
    found = along.T @ (0.9 * own + 0.1 * np.eye(8)) @ along
    np.testing.assert_allclose(found, found[0, 0] * np.eye(8), atol=1e-10)
    with pytest.raises(ConfigError, match="shrinkage 0"):
        directions(np.ones((3, 3)), Mixture(rows=("Vis",), of=("whitened",), shrinkage=0.0))


@pytest.mark.parametrize(
    ("row", "parts"), [(0, [slice(None)]), (9, [slice(None, 400), slice(400, None)])]
)
def test_contrasts_do_not_see_what_all_parcels_share(tmp_path, row, parts):
    """Over cortex alone too, where a scan has no more; and of everything else, all of it."""
    spec = replace(SPEC, groups=partition(["networks", "brain:1"]))
    encoder = build_encoder(spec, seed=0).eval()
    pass_no_constant(encoder)
    mixture = Mixture(rows=("Vis", "Brain"), of=("parcels",), contrasts=True)
    mix_parcels(encoder, data_of(make_shards(tmp_path / "s", 6), mixtures=(mixture,)))
    conv = encoder.tokenizers[row].structured
    n_parcels = len(spec.groups[row].parcels)
    patches = torch.randn(3, n_parcels, 20, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = conv(patches)
        for part in parts:
            shared = patches.clone()
            shared[:, part] += 3 * patches[:, :1]
            torch.testing.assert_close(conv(shared), before, atol=1e-4, rtol=0)
        apart = patches.clone()
        apart[:, 0] += 3 * patches[:, 1]
        assert (conv(apart) - before).abs().max() > 0.1


@pytest.mark.parametrize("parcels", ["3", "3 401-410", "3-9 410", "3 410"])
def test_one_parcel_has_nothing_to_be_contrasted_with(tmp_path, parcels):
    """Neither alone, nor as the only one of cortex, or of all else, among others."""
    group = Group("Own", parcels)
    encoder = build_encoder(replace(SPEC, groups=(group,)), seed=0)
    pass_no_constant(encoder)
    mixture = Mixture(rows=("Own",), of=("parcels",), contrasts=True)
    data = data_of(make_shards(tmp_path / "s", 6), mixtures=(mixture,))
    with pytest.raises(ConfigError, match="Own has nothing to contrast"):
        mix_parcels(encoder, data)


@pytest.mark.parametrize(
    "mixture",
    [
        Mixture(rows=("Vis",), of=("whitened",), shrinkage=0.2, contrasts=True),
        Mixture(rows=("Vis",), of=("components",), n_components=4, contrasts=True),
        Mixture(rows=("Vis",), of=("parcels",), contrasts=True),
        Mixture(
            rows=("Vis",),
            of=("components", "whitened", "parcels"),
            shrinkage=0.0,
            n_components=6,
            contrasts=True,
        ),
    ],
)
def test_what_is_mixed_lies_in_the_directions_that_are_seen(mixture):
    own = np.corrcoef(np.random.default_rng(0).normal(size=(8, 20)))
    seen = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 6)))[0]
    found = directions(own, mixture, seen=seen)
    assert len(found) == len(mixture.of)
    for along in found:
        np.testing.assert_allclose(seen @ seen.T @ along, along, atol=1e-12)
        assert along.shape == (8, mixture.n_components or 6)
        assert np.trace(along.T @ own @ along) == pytest.approx(along.shape[1])


def test_there_are_no_more_contrasts_than_parcels_to_weigh():
    own, seen = np.eye(3), np.linalg.qr(np.array([[1.0, 0], [-1, 1], [0, -1]]))[0]
    mixture = Mixture(rows=("Vis",), of=("components",), n_components=3, contrasts=True)
    with pytest.raises(ConfigError, match="expected 3 components, found 2"):
        directions(own, mixture, seen=seen)


def test_components_are_the_large_ones_and_there_must_be_so_many():
    def taken(n_components):
        mixture = Mixture(rows=("Vis",), of=("components",), n_components=n_components)
        return directions(np.diag([4.0, 1.0, 0.0]), mixture)

    (along,) = taken(2)
    assert (along[2] == 0).all()
    assert abs(along[0]).max() / abs(along[1]).max() == pytest.approx(4**-0.25)
    with pytest.raises(ConfigError, match="expected 3 components, found 2"):
        taken(3)


def test_what_rounding_leaves_is_no_direction():
    """Ten frames of twenty parcels tell of nine directions."""
    own = np.corrcoef(np.random.default_rng(0).normal(size=(20, 10)))
    assert np.linalg.eigvalsh(own)[10] > 0  # of which nothing is to be made
    with pytest.raises(ConfigError, match="expected 10 components, found 9"):
        directions(own, Mixture(rows=("Vis",), of=("components",), n_components=10))
    with pytest.raises(ConfigError, match="shrinkage 0"):
        directions(own, Mixture(rows=("Vis",), of=("whitened",), shrinkage=0.0))


def test_more_kinds_than_channels_are_refused():
    conv = high_pass().tokenizers[0].structured
    with pytest.raises(ConfigError, match="48 channels cannot mix 49"):
        mix(conv, [torch.eye(61, dtype=torch.float64)] * 49)


@pytest.mark.parametrize(
    "wrong",
    [
        {"of": ()},
        {"of": ("whitened",)},
        {"of": ("components",)},
        {"of": ("parcels",), "shrinkage": 0.1},
        {"of": ("whitened",), "shrinkage": 0.1, "n_components": 3},
        {"of": ("parcels",), "rows": ()},
    ],
)
def test_a_mixture_says_what_it_needs_and_nothing_else(wrong):
    with pytest.raises(ConfigError, match="a mixture of"):
        Mixture(**({"rows": ("Vis",)} | wrong))
