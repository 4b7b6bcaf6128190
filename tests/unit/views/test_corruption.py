"""Crops and their corruption."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from model.views.corruption import ViewsConfig, augment, crop, draw_views

STILL = ViewsConfig(
    pairing="scan", parcels_zeroed=(0, 0), time_zeroed=(0, 0), scale=(1, 1), noise=0.0
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


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
    least = replace(STILL, parcels_zeroed=(0, 0.001), time_zeroed=(0, 0.001))
    views = augment(torch.ones(200, 30, 20), least, generator=generator())
    silent_parcels = (views == 0).all(dim=2).sum(dim=1)
    silent_samples = (views == 0).all(dim=1).sum(dim=1)
    assert silent_parcels.unique().tolist() == [1]
    assert silent_samples.unique().tolist() == [1]


def test_without_corruption_a_view_is_its_crop():
    views = torch.randn(5, 30, 20, generator=generator())
    assert torch.equal(augment(views, STILL, generator=generator(1)), views)


@pytest.mark.parametrize(
    "off", [{"parcels_zeroed": (0, 0)}, {"time_zeroed": (0, 0)}, {"scale": (1, 1)}, {"noise": 0}]
)
def test_one_corruption_off_leaves_the_draws_of_the_others(off):
    views = torch.ones(3, 30, 40)
    whole = ViewsConfig(pairing="scan", scale=(2, 2))
    part = replace(whole, **off)
    (a, b) = (augment(views, c, generator=generator()) for c in (whole, part))
    same = (a == b) | ((a - b).abs() > 0.3) if "noise" not in off else (a - b).abs() < 0.5
    assert same.any()
    assert not torch.equal(a, b)


def test_shared_waves_reach_all_parcels_and_are_slow():
    config = replace(STILL, physiology=(0.5, 0.5))
    waves = augment(torch.zeros(200, 20, 100), config, generator=generator())
    assert waves.std(dim=2).mean() == pytest.approx(0.5, rel=0.1)
    correlation = torch.corrcoef(waves[0]).abs()
    assert correlation.min() > 0.999
    power = torch.fft.rfft(waves).abs().square().mean(dim=(0, 1))
    assert power[1:11].sum() > 0.999 * power.sum()


def test_waves_that_are_off_draw_nothing():
    views = torch.ones(3, 30, 40)
    config = ViewsConfig(pairing="scan")
    first = augment(views, config, generator=generator())
    assert torch.equal(
        first, augment(views, replace(config, physiology=(0, 0)), generator=generator())
    )
    assert not torch.equal(
        first, augment(views, replace(config, physiology=(0, 1)), generator=generator())
    )


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
