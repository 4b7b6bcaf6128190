"""What each step learns from: it follows from the settings, the data and the step's number.

A batch is drawn in ``run.micro_batches`` pieces. What makes a batch one (its subjects, the
simulated population, whether it is masked) is drawn once per batch; what happens to each view is
drawn per piece, so that processes that train together need not draw one another's.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from model.networks import NETWORKS
from model.pretraining.masks import slice_masks
from model.pretraining.simulate import simulate
from model.pretraining.views import augment, draw_views

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from model.pretraining.cohort import Cohort
    from model.pretraining.settings import PretrainConfig, RunConfig

Pieces = list["Batch"]
POOL = 1
"""Tells the seeds of a pool's subjects from those of a step."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Two views of some subjects."""

    views: Tensor
    """(V, B, P, L)"""
    absent: Tensor
    """(V, B, N, K) true where a network is missing: masked for student and teacher"""
    mask: Tensor | None
    """(V, B, N, K) true where the student's tokens are masked; None: not in this batch"""

    def to(self, device: torch.device) -> Batch:
        """Copy to a device without waiting for it."""
        if device.type == "cpu":
            return self

        def moved(tensor: Tensor) -> Tensor:
            return tensor.pin_memory().to(device, non_blocking=True)

        return Batch(
            views=moved(self.views),
            absent=moved(self.absent),
            mask=None if self.mask is None else moved(self.mask),
        )


def draw_batch(
    config: PretrainConfig, step: int, *, cohort: Cohort | None = None, piece: int = 0
) -> Batch:
    """Draw one piece of a step's batch, from the simulator or from stored scans.

    Parameters
    ----------
    config
        The run.
    step
        Number of the step.
    cohort
        Subjects to train on; None: the simulator's.
    piece
        Which of ``run.micro_batches``.
    """
    shared = _generator(config.run.seed, step)
    single = config.run.micro_batches == 1
    own = shared if single else _generator(config.run.seed, step, piece)
    size = config.run.batch_size // config.run.micro_batches
    rows = slice(piece * size, (piece + 1) * size)
    if cohort is None:
        pool = shared if config.run.n_subjects is None else _pool(config.run, step)
        views, absent = _simulated(config, rows, pool, own)
    else:
        views, absent = _stored(config, cohort, step, rows, shared, own)
    objective, n_patches = config.objective, config.encoder.n_patches
    absent = absent[..., None].expand(2, size, len(NETWORKS), n_patches)
    masked = float(torch.rand((), generator=shared)) < objective.mask_probability
    mask = slice_masks(
        2 * size,
        n_networks=len(NETWORKS),
        n_patches=n_patches,
        generator=own,
        ratio=objective.mask_ratio,
        counts=objective.mask_counts,
    )
    return Batch(
        views=views, absent=absent, mask=mask.view(absent.shape) & ~absent if masked else None
    )


def _generator(seed: int, step: int, piece: int | None = None) -> torch.Generator:
    key = () if piece is None else (2, piece)
    number = np.random.SeedSequence([seed, step], spawn_key=key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(number) >> 1)


def _pool(run: RunConfig, step: int) -> torch.Generator:
    """Give the generator of the subjects that are due at this step, whatever the views of them.

    A batch comes round whole: what is drawn per batch must not tell its subjects from others.
    """
    assert run.n_subjects is not None, "only runs with a pool come here"  # noqa: S101 - our guarantee
    block = step % (run.n_subjects // run.batch_size)
    seed = np.random.SeedSequence([run.seed, block], spawn_key=(POOL,))
    return torch.Generator().manual_seed(int(seed.generate_state(1, np.uint64)[0]) >> 1)


def _simulated(
    config: PretrainConfig, rows: slice, subjects: torch.Generator, own: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Simulate the whole batch, for it is one population, and cut views of some subjects."""
    assert config.simulation is not None, "checked where the run's data are opened"  # noqa: S101
    scans = simulate(
        config.simulation,
        config.input,
        n_subjects=config.run.batch_size,
        n_sessions=config.views.n_sessions,
        generator=subjects,
    )
    views = torch.stack(
        draw_views(
            scans.values[rows], config.views, n_samples=config.input.window_samples, generator=own
        )
    )
    return views, scans.missing_networks.expand(2, views.shape[1], -1)


def _stored(
    config: PretrainConfig,
    cohort: Cohort,
    step: int,
    rows: slice,
    shared: torch.Generator,
    own: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Read the crops of some subjects of the batch and augment them."""
    batch_size, seed = config.run.batch_size, config.run.seed
    subjects = cohort.subjects_of(step, batch_size=batch_size, seed=seed)
    crops = cohort.draw_crops(subjects, generator=shared)
    values, absent = zip(*(cohort.read(view[rows]) for view in crops), strict=True)
    views = [augment(view, config.views, generator=own) for view in values]
    return torch.stack(views), torch.stack(absent)


def draw_held_out(config: PretrainConfig, cohort: Cohort) -> Batch:
    """Draw one batch of subjects that are not trained on: masked, not augmented, always the same.

    At most ``run.batch_size`` subjects, the first of the list.
    """
    number = np.random.SeedSequence([config.run.seed], spawn_key=(3,)).generate_state(1)[0]
    generator = torch.Generator().manual_seed(int(number))
    crops = cohort.draw_crops(cohort.subjects[: config.run.batch_size], generator=generator)
    views, absent = (torch.stack(x) for x in zip(*map(cohort.read, crops), strict=True))
    absent = absent[..., None].expand(*absent.shape, config.encoder.n_patches)
    mask = slice_masks(
        views.shape[0] * views.shape[1],
        n_networks=len(NETWORKS),
        n_patches=config.encoder.n_patches,
        generator=generator,
    )
    return Batch(views=views, absent=absent, mask=mask.view(absent.shape) & ~absent)


def describe_batch(config: PretrainConfig, step: int, cohort: Cohort | None) -> list[str]:
    """Name what a batch was made of: its scans, or how to simulate it again."""
    if cohort is None:
        return [f"model.pretraining.batches.draw_batch(config, {step})"]
    batch_size, seed = config.run.batch_size, config.run.seed
    subjects = cohort.subjects_of(step, batch_size=batch_size, seed=seed)
    pairs = cohort.draw_crops(subjects, generator=_generator(seed, step))
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
) -> Iterator[tuple[int, Pieces]]:
    """Yield the pieces of each step; beside a GPU the next step's are drawn meanwhile."""

    def draw(step: int) -> Pieces:
        return [draw_batch(config, step, cohort=cohort, piece=p).to(device) for p in pieces]

    if device.type == "cpu":
        yield from ((step, draw(step)) for step in steps)
        return
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(draw, steps.start) if steps else None
        for step in steps:
            assert coming is not None, "there is a next step"  # noqa: S101 - our guarantee
            pieces_now = coming.result()
            coming = pool.submit(draw, step + 1) if step + 1 < steps.stop else None
            yield step, pieces_now
