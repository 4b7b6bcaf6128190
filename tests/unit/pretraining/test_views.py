"""Crops, corruption and slice masks."""

from __future__ import annotations

import pytest
import torch

from model.pretraining.views import ViewsConfig, augment, crop, draw_views, slice_masks

STILL = ViewsConfig(
    pairing="scan", parcels_zeroed=(0, 0), time_zeroed=(0, 0), scale=(1, 1), noise=0.0
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def masks(n_samples=20_000):
    return slice_masks(n_samples, n_networks=9, n_patches=5, generator=generator())


def test_the_realised_mask_ratio_is_the_published_one():
    ratio = masks().float().mean(dim=(1, 2))
    assert ratio.mean() == pytest.approx(0.631, abs=0.003)
    found, count = ratio.mul(1000).round().unique(return_counts=True)
    assert found.tolist() == [556, 600, 667, 800]
    assert (count / len(ratio)).tolist() == pytest.approx([0.25, 0.375, 0.25, 0.125], abs=0.015)


def test_the_centre_patch_is_masked_most():
    by_patch = masks().float().mean(dim=(0, 1))
    assert by_patch.tolist() == pytest.approx([0.50, 0.68, 0.81, 0.68, 0.50], abs=0.02)


def test_a_mask_is_whole_rows_or_contiguous_whole_columns():
    drawn = masks(500)
    whole_rows = (drawn.all(dim=2) == drawn.any(dim=2)).all(dim=1)
    whole_columns = (drawn.all(dim=1) == drawn.any(dim=1)).all(dim=1)
    assert (whole_rows ^ whole_columns).all()
    edges = drawn[whole_columns].any(dim=1).int().diff(dim=1).abs().sum(dim=1)
    assert edges.max() <= 2
    gaps = drawn[whole_columns].any(dim=1)
    assert not (gaps[:, 0] & gaps[:, -1]).any()


def test_crops_start_everywhere_and_are_pieces_of_their_scan():
    scans = torch.arange(30.0).repeat(2000, 3, 1)
    crops = crop(scans, 10, generator=generator())
    assert (crops.diff(dim=2) == 1).all()
    assert crops[:, 0, 0].unique().tolist() == list(range(21))


def test_views_of_sessions_come_from_one_session_each():
    scans = torch.stack([torch.full((4, 5, 40), 1.0), torch.full((4, 5, 40), 2.0)], dim=1)
    config = ViewsConfig(pairing="sessions", scale=(1, 1), noise=0.0)
    first, second = draw_views(scans, config, n_samples=20, generator=generator())
    assert first.max() == 1
    assert second.max() == 2


def test_views_of_a_scan_are_two_crops_of_it():
    scans = torch.arange(40.0).repeat(50, 1, 5, 1)
    first, second = draw_views(scans, STILL, n_samples=20, generator=generator())
    assert (first.diff(dim=2)[..., 1:-1].abs() <= 40).all()
    assert not torch.equal(first, second)


def test_at_least_one_parcel_and_one_sample_are_zeroed():
    views = augment(torch.ones(200, 30, 20), STILL, generator=generator())
    silent_parcels = (views == 0).all(dim=2).sum(dim=1)
    silent_samples = (views == 0).all(dim=1).sum(dim=1)
    assert silent_parcels.unique().tolist() == [1]
    assert silent_samples.unique().tolist() == [1]


def test_zeroed_time_is_one_block_of_at_most_the_share():
    config = ViewsConfig(pairing="scan", parcels_zeroed=(0, 0), scale=(1, 1), noise=0.0)
    views = augment(torch.ones(500, 30, 100), config, generator=generator())
    silent = (views == 0).all(dim=1)
    assert silent.sum(dim=1).max() <= 30
    assert silent.int().diff(dim=1).eq(1).sum(dim=1).max() <= 1


def test_noise_is_added_last_so_that_zeroed_parts_carry_it():
    config = ViewsConfig(pairing="scan", noise=0.1)
    views = augment(torch.zeros(20, 30, 100), config, generator=generator())
    assert (views != 0).all()
    assert views.std() == pytest.approx(0.1, rel=0.02)


def test_augmentation_leaves_its_input_alone():
    views = torch.randn(5, 30, 20, generator=generator())
    before = views.clone()
    augment(views, ViewsConfig(pairing="scan"), generator=generator())
    assert torch.equal(views, before)
