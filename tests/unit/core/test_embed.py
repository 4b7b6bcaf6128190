"""Embedding: the same numbers whatever the batch, and nothing chosen silently."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from model.embed import embed_many_windows, embed_residual, embed_series, embed_windows
from model.encoder import build_encoder
from model.errors import ConfigError, SeriesError, TooShortError
from model.networks import NETWORKS, network_columns, parcel_names
from model.preprocess import window
from model.series import ParcelSeries, Windows
from model.spec import CheckpointCard, EncoderSpec, InputSpec

INPUT = InputSpec(normalization="zscore")
SPEC = EncoderSpec(dim=16, depth=2, heads=2)
CARD = CheckpointCard(
    name="tiny",
    version="0",
    weights_sha256="0" * 64,
    parcels_sha256="0" * 64,
    input=INPUT,
    encoder=SPEC,
    readout=("mean", "cls"),
    source="random weights",
    licence="Apache-2.0",
    training={},
)


@pytest.fixture
def encoder():
    encoder = build_encoder(SPEC, seed=1).eval()
    encoder.card = CARD
    return encoder


def make_windows(n: int = 5, *, missing: np.ndarray | None = None, padded: int = 0) -> Windows:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((n, 457, 100))
    valid = np.ones((n, 100), dtype=bool)
    if padded:
        valid[-1, -padded:] = False
        values[-1, :, -padded:] = 0
    missing = np.zeros(457, dtype=bool) if missing is None else missing
    values[:, missing] = 0
    start = 100.0 * np.arange(n)
    return Windows(values=values, valid=valid, start_s=start, missing=missing, spec=INPUT)


def series(n_frames: int = 240, *, seed: int = 0) -> np.ndarray:
    steps = np.random.default_rng(seed).standard_normal((n_frames, 457))
    return steps + np.vstack([np.zeros(457), steps[:-1]])


def test_shapes_types_and_the_order_of_the_grid(encoder):
    windows = make_windows(2)
    embedding = embed_windows(windows, encoder)
    with torch.no_grad():
        tokens = encoder(torch.from_numpy(np.array(windows.values))).numpy()
    assert embedding.cls.shape == (2, 16)
    assert embedding.tokens.shape == (2, 9, 5, 16)
    assert embedding.tokens.dtype == np.float32
    np.testing.assert_allclose(embedding.tokens[:, 3, 2], tokens[:, 1 + 3 * 5 + 2], atol=1e-6)
    np.testing.assert_allclose(embedding.cls, tokens[:, 0], atol=1e-6)
    np.testing.assert_array_equal(embedding.start_s, windows.start_s)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_the_result_does_not_depend_on_the_batch_size(encoder, batch_size):
    windows = make_windows(5, padded=30)
    expected = embed_windows(windows, encoder, batch_size=5)
    found = embed_windows(windows, encoder, batch_size=batch_size)
    np.testing.assert_allclose(found.tokens, expected.tokens, atol=2e-6)
    np.testing.assert_allclose(found.scan_vector(), expected.scan_vector(), atol=2e-6)


@pytest.mark.parametrize("batch_size", [2, 3, 8, 64])
def test_scans_that_share_batches_get_what_they_get_alone(encoder, batch_size):
    gone = np.zeros(457, dtype=bool)
    gone[network_columns("Limbic")] = True
    scans = [make_windows(3, padded=30), make_windows(1, missing=gone), make_windows(4)]
    found = embed_many_windows(scans, encoder, batch_size=batch_size)
    for windows, embedding in zip(scans, found, strict=True):
        alone = embed_windows(windows, encoder)
        np.testing.assert_allclose(embedding.tokens, alone.tokens, atol=2e-6)
        np.testing.assert_allclose(embedding.cls, alone.cls, atol=2e-6)
        np.testing.assert_array_equal(embedding.valid, alone.valid)
        np.testing.assert_array_equal(embedding.start_s, alone.start_s)
        np.testing.assert_array_equal(embedding.valid_fraction, alone.valid_fraction)


def test_no_scans_give_no_embeddings(encoder):
    assert embed_many_windows([], encoder) == []


def test_one_scan_that_does_not_fit_is_not_left_out_silently(encoder):
    silent = make_windows(1, missing=np.ones(457, dtype=bool))
    with pytest.raises(SeriesError, match="hold no data"):
        embed_many_windows([make_windows(2), silent], encoder)


def test_bfloat16_is_near_float32_and_returned_as_such(encoder):
    windows = make_windows(2)
    exact = embed_windows(windows, encoder).tokens
    rounded = embed_windows(windows, encoder, precision="bf16").tokens
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - exact).max() < 0.03 * np.abs(exact).max()


def test_another_precision_is_refused(encoder):
    with pytest.raises(ConfigError, match="precision 'fp16'"):
        embed_windows(make_windows(1), encoder, precision="fp16")


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.03)])
def test_a_gpu_gives_what_a_cpu_gives(encoder, precision, tolerance):
    windows = make_windows(5, padded=30)
    expected = embed_windows(windows, encoder).tokens
    found = embed_windows(windows, encoder.to("cuda"), precision=precision).tokens
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()


def test_the_result_does_not_depend_on_the_order_of_windows(encoder):
    windows = make_windows(5, padded=30)
    order = np.array([3, 0, 4, 2, 1])
    turned = replace(
        windows,
        values=windows.values[order],
        valid=windows.valid[order],
        start_s=windows.start_s[order],
    )
    expected = embed_windows(windows, encoder, batch_size=2)
    found = embed_windows(turned, encoder, batch_size=2)
    np.testing.assert_allclose(found.tokens, expected.tokens[order], atol=2e-6)
    np.testing.assert_allclose(found.scan_vector(), expected.scan_vector(), atol=2e-6)


def test_padded_patches_and_missing_networks_are_masked(encoder):
    missing = np.zeros(457, dtype=bool)
    missing[network_columns("Cerebellum")] = True
    embedding = embed_windows(make_windows(2, missing=missing, padded=30), encoder)
    assert embedding.missing_networks == ("Cerebellum",)
    assert not embedding.valid[1, :, 3:].any()
    assert embedding.valid[0, :8].all()
    np.testing.assert_allclose(embedding.valid_fraction, [1.0, 0.7])


def test_what_lies_in_a_padded_patch_has_no_influence(encoder):
    windows = make_windows(2, padded=20)
    values = np.array(windows.values)
    values[1, :, 80:] = 5.0
    found = embed_windows(replace(windows, values=values), encoder)
    np.testing.assert_allclose(found.tokens, embed_windows(windows, encoder).tokens, atol=2e-6)


def test_embedding_computes_no_gradients_and_leaves_the_encoder_as_it_was(encoder):
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    embed_windows(make_windows(2), encoder)
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in encoder.parameters())


def test_the_readout_is_the_card_s_or_the_one_asked_for(encoder):
    assert embed_windows(make_windows(1), encoder).scan_vector().shape == (32,)
    chosen = embed_windows(make_windows(1), encoder, readout=("networks",))
    assert chosen.scan_vector().shape == (9 * 16,)


def test_without_card_and_readout_nothing_is_guessed(encoder):
    encoder.card = None
    with pytest.raises(ConfigError, match="does not tell a readout"):
        embed_windows(make_windows(1), encoder)
    assert embed_windows(make_windows(1), encoder, readout=("cls",)).readout == ("cls",)
    with pytest.raises(ConfigError, match="does not tell the input it expects"):
        embed_series(series(), tr_s=2.0, encoder=encoder, readout=("cls",))


@pytest.mark.parametrize(
    "embed",
    [
        lambda encoder: embed_windows(make_windows(5), encoder, batch_size=2),
        lambda encoder: embed_series(series(), tr_s=5.0, encoder=encoder, batch_size=2),
    ],
    ids=["windows", "series"],
)
def test_no_more_windows_at_a_time_than_the_batch_size(encoder, embed):
    sizes = []
    encoder.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    embed(encoder)
    assert sum(sizes) > 4
    assert sizes[:2] == [2, 2]
    assert max(sizes) == 2


def test_training_mode_is_refused(encoder):
    with pytest.raises(ConfigError, match=r"encoder\.eval\(\)"):
        embed_windows(make_windows(1), encoder.train())


def test_windows_of_another_length_are_refused(encoder):
    spec = replace(INPUT, window_samples=120)
    windows = replace(
        make_windows(1), values=np.zeros((1, 457, 120)), valid=np.ones((1, 120)), spec=spec
    )
    with pytest.raises(SeriesError, match=r"5 patches of 20 samples, found 6 of 20"):
        embed_windows(windows, encoder)


def test_windows_at_another_tr_are_refused(encoder):
    windows = replace(make_windows(1), spec=replace(INPUT, tr_s=0.72))
    with pytest.raises(SeriesError, match=r"TR 2\.0 s, found 0\.72 s"):
        embed_windows(windows, encoder)


def test_a_scan_without_any_network_is_refused(encoder):
    with pytest.raises(SeriesError, match="1 of 1 windows hold no data"):
        embed_windows(make_windows(1, missing=np.ones(457, dtype=bool)), encoder)


def test_one_window_without_data_is_refused_beside_others(encoder):
    with pytest.raises(SeriesError, match="1 of 3 windows hold no data"):
        embed_windows(make_windows(3, padded=100), encoder)


def test_a_series_is_embedded_in_one_call(encoder):
    embedding = embed_series(series(), tr_s=2.0, encoder=encoder)
    assert embedding.cls.shape[1] == 16
    assert embedding.start_s[0] == 0
    assert embedding.scan_vector().shape == (32,)
    assert np.isfinite(embedding.scan_vector()).all()


def test_units_of_the_series_do_not_matter(encoder):
    scale = np.random.default_rng(1).uniform(0.5, 50, 457)
    expected = embed_series(series(), tr_s=2.0, encoder=encoder)
    found = embed_series(series() * scale + 1000 * scale, tr_s=2.0, encoder=encoder)
    np.testing.assert_allclose(found.scan_vector(), expected.scan_vector(), atol=1e-3)


def test_another_tr_is_resampled(encoder):
    """240 frames at 1 s are 240 s: the same number of windows as 120 frames at 2 s."""
    found = embed_series(series(240), tr_s=1.0, encoder=encoder)
    expected = embed_series(series(120), tr_s=2.0, encoder=encoder)
    assert found.cls.shape == expected.cls.shape


def test_the_normalization_asked_for_replaces_the_card_s(encoder):
    values = series()
    values[5] += 40
    zscore = embed_series(values, tr_s=2.0, encoder=encoder)
    robust = embed_series(values, tr_s=2.0, encoder=encoder, normalization="robust")
    assert not np.allclose(zscore.scan_vector(), robust.scan_vector(), atol=1e-3)


def test_missing_parcels_are_masked_by_network(encoder):
    values = series()
    for network in ("Subcortical", "Cerebellum"):
        values[:, network_columns(network)] = np.nan
    embedding = embed_series(values, tr_s=2.0, encoder=encoder, readout=("cls", "networks"))
    assert embedding.missing_networks == NETWORKS[7:]
    vector, filled = embedding.scan_vector(), embedding.filled_vector()
    np.testing.assert_array_equal(np.isnan(vector), np.arange(16 + 9 * 16) >= 16 + 7 * 16)
    np.testing.assert_array_equal(vector[: 8 * 16], filled[: 8 * 16])
    assert vector.dtype == filled.dtype == np.float32
    predicted = embedding.tokens[:, 7:].mean(axis=2)
    mean = np.average(predicted, axis=0, weights=embedding.valid_fraction)
    np.testing.assert_allclose(filled[8 * 16 :], mean.ravel(), atol=1e-6)


@pytest.mark.parametrize("shape", [(240, 400), (457, 240), (240,)])
def test_a_series_of_another_shape_is_refused(encoder, shape):
    transposed = r"Transposed\? .* \(240, 457\)\." if shape == (457, 240) else "Columns must"
    with pytest.raises(SeriesError, match=f"457.*{transposed}"):
        embed_series(np.zeros(shape), tr_s=2.0, encoder=encoder)


def test_what_was_interpolated_is_one_value_per_frame(encoder):
    with pytest.raises(SeriesError, match=r"one value per frame \(240\).*found \(239,\)"):
        embed_series(series(), tr_s=2.0, encoder=encoder, interpolated=np.zeros(239))


@pytest.mark.parametrize(("n_frames", "tr_s"), [(8, 2.0), (19, 2.0), (49, 0.8)])
def test_a_series_shorter_than_a_patch_is_refused(encoder, n_frames, tr_s):
    """49 frames at 0.8 s are 39.2 s, and 20 samples: what was measured decides."""
    with pytest.raises(TooShortError, match="expected at least 40 s, one patch"):
        embed_series(series(n_frames), tr_s=tr_s, encoder=encoder)


def test_the_series_that_the_encoder_saw_comes_with_the_embedding(encoder):
    given = ParcelSeries(values=series(), tr_s=1.0, unit="residual", start_s=3.0)
    seen, embedding = embed_residual(given, encoder)
    assert (seen.tr_s, seen.unit, seen.n_frames) == (2.0, "zscore", 120)
    assert embedding.start_s[0] == 3.0
    again = embed_windows(window(seen, INPUT), encoder)
    np.testing.assert_array_equal(embedding.tokens, again.tokens)


def test_interpolated_frames_stay_out_of_mean_and_spread(encoder):
    values, kept = series(), np.ones(240, dtype=bool)
    kept[100:110] = False
    bridged = values.copy()
    bridged[~kept] = 30.0
    given = ParcelSeries(values=bridged, tr_s=2.0, unit="residual", kept=kept)
    seen, _ = embed_residual(given, encoder)
    assert np.abs(seen.values[kept].mean(axis=0)).max() < 1e-6
    np.testing.assert_allclose(seen.values[kept].std(axis=0), 1, atol=1e-6)


def test_frames_named_as_interpolated_are_those_that_are_not_kept(encoder):
    interpolated = np.zeros(240, dtype=bool)
    interpolated[100:110] = True
    values = series()
    values[interpolated] = 30.0
    given = ParcelSeries(values=values, tr_s=2.0, unit="residual", kept=~interpolated)
    found = embed_series(values, tr_s=2.0, encoder=encoder, interpolated=interpolated)
    np.testing.assert_array_equal(found.tokens, embed_residual(given, encoder).embedding.tokens)


def test_records_of_arrays_are_shown_by_shape_and_type(encoder):
    given = ParcelSeries(values=series(), tr_s=1.0, unit="residual")
    seen, embedding = embed_residual(given, encoder)
    assert repr(seen) == (
        "ParcelSeries(values=float32 (120, 457), tr_s=2.0, unit='zscore', start_s=0.0, kept=None)"
    )
    assert repr(embedding) == (
        "ScanEmbedding(cls=float32 (2, 16), tokens=float32 (2, 9, 5, 16), valid=bool (2, 9, 5), "
        "start_s=float64 (2,), valid_fraction=float64 (2,), readout=('mean', 'cls'), "
        "rows=('Vis', 'SomMot', 'DorsAttn', 'SalVentAttn', 5 more), short=None)"
    )


def test_a_table_whose_names_stand_in_another_order_is_refused(encoder):
    table = pd.DataFrame(series(), columns=list(parcel_names()))
    whole = embed_series(table, tr_s=2.0, encoder=encoder)
    assert np.array_equal(whole.cls, embed_series(series(), tr_s=2.0, encoder=encoder).cls)
    with pytest.raises(SeriesError, match="order"):
        embed_series(table[table.columns[::-1]], tr_s=2.0, encoder=encoder)
    unnamed = pd.DataFrame(series())
    assert np.array_equal(whole.cls, embed_series(unnamed, tr_s=2.0, encoder=encoder).cls)
