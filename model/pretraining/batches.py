"""What each step learns from: it follows from the settings, the data and the step's number.

A batch is drawn in ``run.micro_batches`` pieces. What makes a batch one (its subjects, the
simulated population, whether it is masked) is drawn once per batch; what happens to each view is
drawn per piece, so that processes that train together need not draw one another's.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.partition.groups import members
from model.series import shown
from model.simulation.draws import CPU, HELD_OUT, PIECE, POOL, generator_of
from model.simulation.simulate import simulate
from model.views.corruption import augment, draw_views
from model.views.masks import draw_row_masks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from model.pretraining.settings import PretrainConfig
    from model.shards.crops import Cohort, Crop
    from model.spec import EncoderSpec

Cut = Callable[[slice, torch.Generator], tuple[Tensor, Tensor]]
"""Cuts views (V, B, P, L) and missing parcels (V, B, P) of some subjects of a batch."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Two views of some subjects."""

    views: Tensor
    """(V, B, P, L)"""
    absent: Tensor
    """(V, B, N, K) true where a row is missing: masked for student and teacher"""
    mask: Tensor | None
    """(V, B, N, K) true where the student's tokens are masked; None: not in this batch"""
    factors: Tensor | None = None
    """(branches, V * B) of the student's residual branches: 0 where one is left out; None: 1"""

    __repr__ = shown

    def to(self, device: torch.device) -> Batch:
        """Copy to a device."""
        return Batch(
            views=self.views.to(device),
            absent=self.absent.to(device),
            mask=None if self.mask is None else self.mask.to(device),
            factors=None if self.factors is None else self.factors.to(device),
        )


def draw_batch(
    config: PretrainConfig, step: int, *, cohort: Cohort | None = None, piece: int = 0
) -> Batch:
    """Draw one piece of a step's batch; as `draw_pieces`."""
    return draw_pieces(config, step, cohort=cohort, pieces=(piece,))[0]


def draw_pieces(
    config: PretrainConfig,
    step: int,
    *,
    cohort: Cohort | None,
    pieces: Sequence[int],
    device: torch.device = CPU,
) -> list[Batch]:
    """Draw pieces of a step's batch, from the simulator or from stored scans.

    Parameters
    ----------
    config
        The run.
    step
        Number of the step.
    cohort
        Subjects to train on; None: the simulator's.
    pieces
        Which of ``run.micro_batches``.
    device
        Where views are corrupted, and series simulated; other devices draw other numbers.
    """
    seed = config.run.seed
    shared = generator_of([seed, step])
    whole = config.run.micro_batches == 1 and device.type == "cpu"
    views_of = _simulated if cohort is None else partial(_stored, cohort)
    size = config.run.batch_size // config.run.micro_batches
    cut = views_of(config, step, shared, device)
    drawn = []
    for piece in pieces:
        own = shared if whole else generator_of([seed, step], (PIECE, piece), device=device)
        drawn.append((own, *cut(slice(piece * size, (piece + 1) * size), own)))
    masked = float(torch.rand((), generator=shared)) < config.objective.mask_probability
    return [_masked(config, *piece, masked=masked) for piece in drawn]


def _masked(
    config: PretrainConfig, own: torch.Generator, views: Tensor, lost: Tensor, *, masked: bool
) -> Batch:
    """Add the masks of a piece; ``lost`` (V, B, P)."""
    absent, mask = _absent(lost, config.encoder), _masks(config, lost, own)
    return Batch(
        views=views,
        absent=absent,
        mask=mask.view(absent.shape) & ~absent if masked else None,
        factors=_drawn_factors(config, views.shape[0] * views.shape[1], own),
    )


def _drawn_factors(
    config: PretrainConfig, n_windows: int, generator: torch.Generator
) -> Tensor | None:
    """Draw which residual branches (two to a block) are left out, more often the deeper."""
    rate, depth = config.optimizer.drop_path, config.encoder.depth
    if not rate:
        return None
    block = torch.arange(2 * depth, device=generator.device)[:, None] // 2
    kept = 1 - rate * (block + 1) / depth
    draw = torch.rand(2 * depth, n_windows, generator=generator, device=generator.device)
    return (draw < kept) / kept


def _absent(lost: Tensor, encoder: EncoderSpec) -> Tensor:
    """(V, B, N, K) true in the rows that lack most of their parcels; ``lost`` (V, B, P)."""
    # `model.partition.groups.missing_rows` on the device, so that nothing waits for it.
    held = torch.from_numpy(members(encoder.groups)).to(lost.device, non_blocking=True)
    rows = 2 * (lost.float() @ held.T) > held.sum(dim=1)
    return rows[..., None].expand(*rows.shape, encoder.n_patches)


def _masks(config: PretrainConfig, lost: Tensor, generator: torch.Generator) -> Tensor:
    """(V * B, N, K) true where the student's tokens are to be masked."""
    return draw_row_masks(
        lost.shape[0] * lost.shape[1],
        config.grid,
        config.encoder.groups,
        kind=config.objective.mask_kind,
        generator=generator,
    )


def _simulated(
    config: PretrainConfig, step: int, shared: torch.Generator, device: torch.device
) -> Cut:
    """Simulate the whole batch, for it is one population.

    Where subjects come round again, a batch comes round whole: what is drawn per batch must not
    tell its subjects from others.
    """
    assert config.simulation is not None, "checked where the run's data are opened"  # noqa: S101
    run, generator = config.run, shared
    if run.n_subjects is not None:
        block = step % (run.n_subjects // run.batch_size)
        generator = generator_of([run.seed, block], (POOL,), device=device)
    elif device.type != "cpu":
        generator = generator_of([run.seed, step], device=device)
    scans = simulate(
        config.simulation,
        config.input,
        n_subjects=run.batch_size,
        n_sessions=config.views.n_sessions,
        generator=generator,
    )

    def cut(rows: slice, own: torch.Generator) -> tuple[Tensor, Tensor]:
        values, n_samples = scans.values[rows], config.input.window_samples
        views = torch.stack(draw_views(values, config.views, n_samples=n_samples, generator=own))
        return views, scans.missing_parcels.expand(2, len(values), -1)

    return cut


def _stored(
    cohort: Cohort,
    config: PretrainConfig,
    step: int,
    shared: torch.Generator,
    device: torch.device,
) -> Cut:
    """Choose the crops of the whole batch; only those of own pieces are read."""
    crops = _crops(config, step, cohort, shared)

    def cut(rows: slice, own: torch.Generator) -> tuple[Tensor, Tensor]:
        values, lost = (
            torch.stack(x) for x in zip(*(cohort.read(v[rows]) for v in crops), strict=True)
        )
        if device.type == "cuda":
            values, lost = values.pin_memory(), lost.pin_memory()
        values, lost = (x.to(device, non_blocking=True) for x in (values, lost))
        views = [augment(view, config.views, generator=own) for view in values]
        return torch.stack(views), lost

    return cut


def _crops(
    config: PretrainConfig, step: int, cohort: Cohort, shared: torch.Generator
) -> tuple[list[Crop], list[Crop]]:
    batch_size, seed = config.run.batch_size, config.run.seed
    subjects = cohort.subjects_of(step, batch_size=batch_size, seed=seed)
    return cohort.draw_crops(subjects, generator=shared)


def draw_held_out(config: PretrainConfig, cohort: Cohort) -> Batch:
    """Draw one batch of subjects that are not trained on: masked, not augmented, always the same.

    At most ``run.batch_size`` subjects, the first of the list.
    """
    generator = generator_of([config.run.seed, 0], (HELD_OUT,))
    crops = cohort.draw_crops(cohort.subjects[: config.run.batch_size], generator=generator)
    views, lost = (torch.stack(x) for x in zip(*map(cohort.read, crops), strict=True))
    absent, mask = _absent(lost, config.encoder), _masks(config, lost, generator)
    return Batch(views=views, absent=absent, mask=mask.view(absent.shape) & ~absent)


def describe_batch(config: PretrainConfig, step: int, cohort: Cohort | None) -> list[str]:
    """Name what a batch was made of: its scans, or how to simulate it again."""
    if cohort is None:
        return [f"model.pretraining.batches.draw_batch(config, {step})"]
    pairs = _crops(config, step, cohort, generator_of([config.run.seed, step]))
    return [
        f"{a.scan.scan} frame {a.start}, {b.scan.scan} frame {b.start}"
        for a, b in zip(*pairs, strict=True)
    ]


def stream_batches(
    config: PretrainConfig,
    steps: range,
    pieces: Sequence[int],
    *,
    cohort: Cohort | None,
    device: torch.device,
) -> Iterator[tuple[int, list[Batch]]]:
    """Yield the pieces of each step; beside a GPU the next step's are drawn meanwhile."""
    draw = partial(draw_pieces, config, cohort=cohort, pieces=pieces, device=device)
    if device.type == "cpu":
        yield from ((step, draw(step)) for step in steps)
        return
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(draw, steps.start) if steps else None
        for step in steps:
            assert coming is not None, "there is a next step"  # noqa: S101 - our guarantee
            drawn = coming.result()
            coming = pool.submit(draw, step + 1) if step + 1 < steps.stop else None
            yield step, drawn
