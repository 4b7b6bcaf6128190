"""The model as brainmarks sees it, without brainmarks; tests/contract has the suite itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import probe_builders
import pytest
import torch
from click.testing import CliRunner
from torch.utils.data import default_collate

from model.brainmarks.arrow import standardize
from model.brainmarks.scan_encoder import MAX_WINDOWS, SPACE, ScanEncoder, ScanTransform
from model.checkpoint import load_encoder
from model.cli.app import main
from model.embed import embed_series
from model.errors import SeriesError
from model.networks import network_columns


@pytest.fixture(scope="module")
def encoder():
    return load_encoder()


@pytest.fixture(scope="module")
def pair(encoder):
    return ScanTransform(encoder.card.input), ScanEncoder(encoder, encoder.card.input)


def sample(n_frames: int, *, tr: float = 1.0, seed: int = 0) -> dict:
    """As of brainmarks: standard scores with the levels and scales they had."""
    torch.manual_seed(seed)
    level = {"mean": torch.randn(1, 457), "std": torch.randn(1, 457)}
    return {"tr": tr, "bold": torch.randn(n_frames, 457), "sub": "sub-01", **level}


def test_it_names_the_parcels_of_brainmarks(pair):
    assert pair[1].__space__ == SPACE == "schaefer400_tians3_buckner7"


@pytest.mark.parametrize("n_frames", [16, 160])
def test_embeddings_have_the_shapes_that_brainmarks_tests(pair, encoder, n_frames):
    transform, model = pair
    batch = default_collate([transform(sample(n_frames, seed=seed)) for seed in (0, 1)])
    vectors, registers, patches = model(batch)
    assert vectors.shape == (2, 1, len(encoder.spec.rows) * encoder.spec.dim)
    assert registers is None
    assert patches.shape == (2, 5 * len(encoder.spec.rows), encoder.spec.dim)


def test_scans_of_different_lengths_share_a_batch_and_use_all_their_frames(pair, encoder):
    transform, model = pair
    scans = [sample(n, tr=2.0, seed=n) for n in (150, 240, 100)]
    vectors, _, _ = model(default_collate([transform(scan) for scan in scans]))
    for scan, vector in zip(scans, vectors[:, 0].numpy(), strict=True):
        expected = embed_series(scan["bold"].numpy(), tr_s=2.0, encoder=encoder).filled_vector()
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_zeros_are_missing_parcels(pair, encoder):
    scan = sample(150, tr=2.0)
    scan["bold"][:, network_columns("Cerebellum")] = 0
    vectors, _, _ = pair[1](default_collate([pair[0](scan)]))
    values = scan["bold"].numpy()
    values[:, network_columns("Cerebellum")] = np.nan
    expected = embed_series(values, tr_s=2.0, encoder=encoder).filled_vector()
    np.testing.assert_allclose(vectors[0, 0].numpy(), expected, atol=1e-5)


def test_the_target_is_passed_on_and_the_rest_is_not(pair):
    made = pair[0]({**sample(150), "target": 3})
    assert set(made) == {"values", "valid", "missing", "n_windows", "target"}


def test_a_scan_longer_than_the_batch_has_place_for_is_refused(encoder):
    with pytest.raises(SeriesError, match="max_windows=9"):
        ScanTransform(encoder.card.input)(sample(451, tr=2.0))
    longer = ScanTransform(encoder.card.input, max_windows=9)(sample(451, tr=2.0))
    assert longer["n_windows"] == 9 > MAX_WINDOWS


def test_a_clip_is_continued_with_its_mean_to_one_patch(encoder):
    spec = replace(encoder.card.input, normalization="zscore")
    made = ScanTransform(spec)(sample(12, tr=2.0))
    assert made["valid"][0].sum() == spec.patch_samples
    assert np.abs(made["values"][0, :, :12]).min(axis=0).max() > 0
    assert not made["values"][0, :, 12:].any()


def test_the_suite_s_training_mode_leaves_the_encoder_frozen(pair):
    model = pair[1].train()
    assert model.training
    assert not model.encoder.training
    model.eval()


def test_standard_scores_are_undone_by_mean_and_deviation():
    values = np.random.default_rng(0).standard_normal((50, 457)) * 3 + 100
    values[:, 7] = np.nan
    values[:, 8] = 5.0
    scores, mean, std = standardize(values)
    assert (scores.dtype, mean.shape, std.shape) == (np.float16, (1, 457), (1, 457))
    assert not scores[:, 7:9].any()
    assert (mean[0, 7], std[0, 7], mean[0, 8], std[0, 8]) == (0, 0, 5, 0)
    kept = np.r_[0:7, 9:457]
    restored = scores.astype(float) * std + mean
    np.testing.assert_allclose(restored[:, kept], values[:, kept], atol=0.02)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--name", "x"), "24 of 24 runs have no desc-denoised_timeseries.tsv"),
        (("--name", "../x", "--desc", "model"), "expected letters, digits"),
        (("--name", "x", "--desc", "model", "--target", "constant"), "nothing to tell apart"),
        (("--name", "x", "--desc", "model", "--target", "number"), "24 different values"),
    ],
)
def test_a_data_set_that_cannot_be_made_is_one_clear_error(tmp_path, words, message):
    values = np.random.default_rng(0).normal(size=(24, 1, 3, 457))
    probe_builders.write_cohort(tmp_path / "out", values)
    table = probe_builders.write_participants(tmp_path / "participants.tsv", 24)
    arguments = ["brainmarks", tmp_path / "out", tmp_path / "root", "--participants", table]
    arguments += ["--target", "planted", *words]
    answer = CliRunner().invoke(main, [str(word) for word in arguments])
    assert answer.exit_code in (1, 2)
    assert message in answer.stderr
    assert not (tmp_path / "root").exists()
