"""Which tokens are hidden: the published slices, each part of them, single tokens, blocks."""

from __future__ import annotations

import pytest
import torch

from model.errors import ConfigError
from model.partition.groups import NETWORK_GROUPS, Group
from model.partition.named import partition
from model.views.masks import Grid, check_masks, draw_masks, draw_row_masks

KINDS = ("slices", "networks", "patches", "random", "blocks")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def masks(n_samples=20_000):
    return draw_masks(n_samples, Grid(9, 5), generator=generator())


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


def whole_rows(drawn):
    return (drawn.all(dim=2) == drawn.any(dim=2)).all(dim=1)


def whole_columns(drawn):
    return (drawn.all(dim=1) == drawn.any(dim=1)).all(dim=1)


def drawn_as(kind, n_samples=400, **grid):
    return draw_masks(n_samples, Grid(9, 5, **grid), kind=kind, generator=generator())


def test_networks_alone_are_whole_rows_and_patches_alone_whole_columns():
    rows, columns = drawn_as("networks"), drawn_as("patches")
    assert whole_rows(rows).all()
    assert not whole_columns(rows).any()
    assert whole_columns(columns).all()
    assert not whole_rows(columns).any()


@pytest.mark.parametrize("kind", ["random", "blocks"])
def test_single_tokens_and_blocks_are_masked_in_the_nominal_ratio(kind):
    ratio = drawn_as(kind, 5000).float().mean(dim=(1, 2))
    assert ratio.mean() == pytest.approx(0.75, abs=0.005)
    assert ratio.min() == pytest.approx(29 / 45)
    assert ratio.max() == pytest.approx(38 / 45)
    assert drawn_as(kind, 5000).float().mean(dim=0).std() < 0.02


def test_single_tokens_are_scattered_and_blocks_hang_together():
    def borders(drawn):
        return (drawn.int().diff(dim=1) != 0).sum(dim=(1, 2)).float().mean()

    ratio = (0.3, 0.5)
    random, blocks = (drawn_as(kind, ratio=ratio) for kind in ("random", "blocks"))
    assert borders(blocks) < 0.7 * borders(random)
    assert not (whole_rows(random) | whole_columns(random)).any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_generator_draws_the_same_masks(kind):
    assert torch.equal(drawn_as(kind), drawn_as(kind))
    assert drawn_as(kind).any(dim=(1, 2)).all()
    assert not drawn_as(kind).all(dim=(1, 2)).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_ratio_masks_more(kind):
    low, high = (
        drawn_as(kind, ratio=ratio, counts="rounded").float().mean()
        for ratio in ((0.3, 0.4), (0.7, 0.8))
    )
    assert high > low + 0.3


@pytest.mark.parametrize(
    ("kind", "grid", "message"),
    [
        ("slices", Grid(9, 5, (0.45, 0.55)), "4 to 3 of 9 rows"),
        ("slices", Grid(9, 5, (0.1, 0.9)), "0 to 7 of 9 rows"),
        ("networks", Grid(1, 5, (0.65, 0.85), "rounded"), "1 to 1 of 1 rows"),
        ("patches", Grid(9, 1), "1 to 0 of 1 patches"),
        ("random", Grid(9, 5, (0.0, 0.5)), "0 to 22 of 45 tokens"),
        ("blocks", Grid(9, 5, (0.5, 1.0)), "22 to 45 of 45 tokens"),
    ],
)
def test_what_would_mask_nothing_or_everything_is_refused(kind, grid, message):
    with pytest.raises(ConfigError, match=message):
        check_masks(kind, grid)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", [(0.1, 0.9), (0.45, 0.55), (0.5, 0.75), (0.65, 0.85)])
def test_the_ratios_of_the_paper_can_be_drawn(kind, ratio):
    grid = Grid(9, 5, ratio, "rounded")
    check_masks(kind, grid)
    drawn = draw_masks(200, grid, kind=kind, generator=generator())
    assert drawn.float().mean() == pytest.approx(sum(ratio) / 2, abs=0.08)


@pytest.mark.parametrize("kind", ["patches", "random", "blocks"])
def test_a_grid_of_one_row_is_masked_in_time(kind):
    grid = Grid(1, 5)
    check_masks(kind, grid)
    assert draw_masks(50, grid, kind=kind, generator=generator()).any(dim=(1, 2)).all()


def of_rows(words, *, kind="slices", n_samples=2000):
    groups = partition(words)
    return groups, draw_row_masks(n_samples, Grid(9, 5), groups, kind=kind, generator=generator())


@pytest.mark.parametrize("kind", ["slices", "networks", "patches", "random", "blocks"])
def test_rows_of_the_nine_networks_are_masked_as_drawn(kind):
    _, rows = of_rows(["networks"], kind=kind)
    assert torch.equal(rows, draw_masks(2000, Grid(9, 5), kind=kind, generator=generator()))


@pytest.mark.parametrize("words", [["hemispheres"], ["components"], ["parcels"]])
def test_parts_of_a_network_are_masked_with_it(words):
    groups, rows = of_rows(words)
    networks = draw_masks(2000, Grid(9, 5), generator=generator())
    of_network = [
        next(i for i, n in enumerate(NETWORK_GROUPS) if set(g.parcels) <= set(n.parcels))
        for g in groups
    ]
    assert torch.equal(rows, networks[:, of_network])


def test_a_row_of_the_whole_brain_is_masked_with_networks_and_with_patches():
    _, rows = of_rows(["networks", "brain:2"])
    networks = draw_masks(2000, Grid(9, 5), generator=generator())
    assert torch.equal(rows[:, :9], networks)
    assert torch.equal(rows[:, 9], rows[:, 10])
    by_network = (networks.all(dim=2) | ~networks.any(dim=2)).all(dim=1)
    assert rows[by_network, 9:].all()
    by_patch = ~by_network
    assert torch.equal(rows[by_patch, 9], networks[by_patch, 0])


@pytest.mark.parametrize("kind", ["slices", "networks", "patches", "random", "blocks"])
def test_something_is_left_to_see_of_one_group(kind):
    _, rows = of_rows(["brain:3"], kind=kind)
    assert not rows.all(dim=(1, 2)).any()
    assert rows.any(dim=(1, 2)).all()


def test_a_group_that_reaches_a_little_into_another_network_goes_with_its_own():
    vis, sommot = (NETWORK_GROUPS[i].parcels for i in (0, 1))
    groups = (Group("A", tuple(sorted({*vis, *sommot[:20]}))), Group("B", sommot[20:]))
    rows = draw_row_masks(2000, Grid(9, 5), groups, kind="networks", generator=generator())
    networks = draw_masks(2000, Grid(9, 5), kind="networks", generator=generator())
    some = ~networks[:, :2].all(dim=(1, 2))
    assert torch.equal(rows[some], networks[some, :2])
