"""What a pretraining run is: one frozen dataclass per section; every field changes something."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from model.errors import ConfigError, some
from model.files.settings import (
    Count,
    CountOrZero,
    Limits,
    NotNegative,
    Positive,
    Seed,
    Share,
    Strict,
)
from model.fitting.settings import FitConfig
from model.networks import NETWORKS
from model.pretraining.losses import (
    Distance,
    RateOn,
    TokenReduction,
    TtrRate,
)
from model.simulation.simulate import SimulationConfig
from model.spec import PUBLISHED_BRANCHES, EncoderSpec, InputSpec, ReadoutPart
from model.views.corruption import ViewsConfig
from model.views.masks import PUBLISHED_RATIO, Grid, MaskCounts, MaskKind, check_masks

Precision = Literal["fp32", "bf16"]
TtrAverage = Literal["tokens", "projections"]

RANDOM, CENTRED, BUNDLED = "random", "centred", "bundled"
"""Values of ``run.init`` that are no path."""
UNTRAINED = {
    RANDOM: "random weights",
    CENTRED: "random weights with filters that subtract the average of a patch",
}
"""Those that name no checkpoint, and what a card says of them."""


@dataclass(frozen=True, kw_only=True)
class RunConfig(Strict):
    """Name, size and seed of a run."""

    name: str
    """Name of the checkpoint."""
    version: str
    seed: Seed
    n_steps: CountOrZero
    """0: nothing is trained, only fitted."""
    batch_size: Count
    """Subjects per step; each gives two views."""
    save_every: Count
    """Steps between saved states."""
    readout: tuple[ReadoutPart, ...]
    """Parts of the checkpoint's default scan vector, in order."""
    n_subjects: Count | None = None
    """Subjects to learn from: of those on the list ``data.train``, the first of an order that the
    seed gives; simulated ones come round again. None: all; every step has new ones."""
    whitening: Share | None = None
    """Shrinkage of the whitening of final tokens, fitted after the last step to the scans of the
    section [fit], without it to simulated ones; None: tokens as they are, as published, or as the
    checkpoint in ``init`` whitens them."""
    fixed_whitening: bool = False
    """Leave the whitening of the checkpoint in ``init`` out of what is trained."""
    init: str = RANDOM
    """First weights of the encoder: ``random`` (as published), ``centred`` (random too, by
    `model.pretraining.untrained`), ``bundled``, or a checkpoint's path."""
    precision: Precision = "fp32"
    """Of the forward pass; parameters, losses and the optimiser are in fp32 always."""
    micro_batches: Count = 1
    """Pieces in which a batch is drawn and goes through the encoder: by one process after one
    another, or by several at once. The losses are those of the whole batch."""
    fetch_every: Count = 10
    """Steps between looks at the losses; in between nothing waits for the device."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % self.micro_batches:
            raise ConfigError(
                f"run.batch_size {self.batch_size} cannot be divided into run.micro_batches "
                f"{self.micro_batches} of one size."
            )
        if not self.readout or len(set(self.readout)) < len(self.readout):
            raise ConfigError(
                f"run.readout {self.readout}: one or more of {get_args(ReadoutPart)}, each once."
            )


@dataclass(frozen=True, kw_only=True)
class DataConfig(Strict):
    """Real or stored series to learn from, and who may be used for what."""

    shards: str
    """Folder as `model.shards.store` writes it."""
    more_shards: tuple[str, ...] = ()
    """Further folders, each with lists of the same names: cohorts to learn from together."""
    train: str
    """File of subjects, one a line; in each of the folders. Likewise the next two."""
    validation: str
    """Their losses are logged with every saved state; nothing is chosen by them."""
    test: str
    """Not looked at in training; the check of an adaptation is done on them."""

    @property
    def folders(self) -> tuple[Path, ...]:
        """All folders of shards."""
        return tuple(map(Path, (self.shards, *self.more_shards)))


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(Strict):
    """Losses, their weights, masks and the projection head; defaults as the published code."""

    head_hidden: Count = 1024
    head_out: Count = 128
    head_layers: Count = 1
    """Hidden layers of the projection head; the paper says 2."""
    cls_weight: NotNegative = 1.0
    """Of the summary's loss, coding rate included; 0: masked tokens alone are learned from."""
    token_weight: NotNegative = 0.5
    masked_reduction: TokenReduction = "mean"
    """Over a scan's masked tokens; the paper writes ``sum``."""
    mask_probability: Share = 0.5
    """Share of batches in which the student sees masked tokens; not in the paper (1)."""
    mask_kind: MaskKind = "slices"
    """What is masked together, as `model.views.masks.draw_masks` says."""
    mask_ratio: tuple[Share, Share] = PUBLISHED_RATIO
    """Nominal share that is masked."""
    mask_counts: MaskCounts = "truncated"
    """How a share becomes a number of rows or columns; ``rounded`` keeps it (the paper)."""
    ttr_weight: NotNegative = 0.5
    ttr_share: NotNegative = 0.05
    """Share of the steps over which the temporal regularizer fades out; over 1: never."""
    ttr_rate: TtrRate = "flattened"
    """The paper: ``per_network_sum``."""
    ttr_average: TtrAverage = "tokens"
    """What is averaged over patches: tokens before, or ``projections`` after, they are
    projected (the paper)."""
    rate_on: RateOn = "average"
    """The paper: ``student``."""
    rate_weight: NotNegative = 1.0
    """Of the coding rate in both losses that have one; at 0 features collapse."""
    rate_centred: bool = False
    """Covariance instead of second moment in the coding rate (the paper writes Cov)."""
    distance: Distance = "cosine"
    """``squared``: Euclidean and summed over both directions, as the paper writes; four times
    the weight of the agreement against the coding rate."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Strict):
    """AdamW on all parameters, and the teacher; defaults as published."""

    learning_rate: NotNegative
    """Peak, for the batch size of this run."""
    warmup_share: Share = 0.03
    weight_decay: tuple[NotNegative, NotNegative] = (0.05, 0.3)
    """At the first and at the last step."""
    teacher_momentum: Share = 0.99
    """At the first step; 1 at the last."""
    clip_norm: Positive = 1.0
    layer_decay: Annotated[float, Limits(math.ulp(0.0), 1, "above 0, to 1")] = 1.0
    """Factor of the learning rate from each layer to the one below: head and final norm, blocks
    from the last to the first, tokenizers and embeddings."""
    drop_path: Annotated[float, Limits(0, 0.9, "from 0 to 0.9")] = 0.0
    """Share of windows for which a residual branch of the student's last block is left out, in
    proportion to depth in those before (arXiv 1603.09382)."""


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(Strict):
    """A whole run. It learns from ``simulation`` or from ``data``, never from both.

    What is fitted without learning may be fitted to other scans, in ``fit``.
    """

    run: RunConfig
    encoder: EncoderSpec
    input: InputSpec
    views: ViewsConfig
    objective: ObjectiveConfig
    optimizer: OptimizerConfig
    simulation: SimulationConfig | None = None
    data: DataConfig | None = None
    fit: FitConfig | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = (self.input.patch_samples, self.input.n_patches)
        expected = (self.encoder.patch_samples, self.encoder.n_patches)
        if sizes != expected:
            raise ConfigError(
                f"input has {sizes[1]} patches of {sizes[0]} samples, the encoder "
                f"{expected[1]} of {expected[0]}."
            )
        if (self.simulation is None) == (self.data is None):
            raise ConfigError(
                "expected one of the sections [simulation] and [data], found "
                + ("both." if self.data else "none."),
                hint="A run learns from simulated series or from shards, not from a mixture.",
            )
        n_subjects, batch_size = self.run.n_subjects, self.run.batch_size
        if n_subjects is not None and n_subjects < batch_size:
            raise ConfigError(f"run.n_subjects {n_subjects} do not make a batch of {batch_size}.")
        if self.simulation and n_subjects is not None and n_subjects % batch_size:
            raise ConfigError(
                f"run.n_subjects {n_subjects} is not a whole number of batches of {batch_size}, "
                "in which simulated subjects come round again."
            )
        self._check_fit()
        if self.simulation and self.simulation.n_samples < self.input.window_samples:
            raise ConfigError(
                f"simulation.n_samples {self.simulation.n_samples} is less than a window "
                f"({self.input.window_samples})."
            )
        check_masks(self.objective.mask_kind, self.grid)
        if self.run.init == CENTRED and not set(self.encoder.branches) <= set(PUBLISHED_BRANCHES):
            raise ConfigError(
                f'run.init "{CENTRED}" is made of {" and ".join(PUBLISHED_BRANCHES)} '
                f"convolutions, found branches {', '.join(self.encoder.branches)}.",
                hint='run.init = "random"',
            )

    @property
    def grid(self) -> Grid:
        """What masks are drawn on."""
        objective = self.objective
        return Grid(
            len(NETWORKS), self.encoder.n_patches, objective.mask_ratio, objective.mask_counts
        )

    def _check_fit(self) -> None:
        run, fit = self.run, self.fit
        if run.whitening is not None and self.simulation is None and fit is None:
            raise ConfigError(
                "run.whitening needs scans to be fitted to.",
                hint='Name stored ones: fit.shards = ["FOLDER"].',
            )
        if run.fixed_whitening and not self.encoder.whitened:
            raise ConfigError("run.fixed_whitening: the encoder in run.init is not whitened.")
        has_short = fit is not None and fit.short
        if "short" in run.readout and not has_short:
            raise ConfigError(
                "run.readout asks for a short form, which is fitted anew in every run.",
                hint="Set fit.short.",
            )
        if fit is None:
            return
        if run.whitening is None and not fit.mixtures and not fit.short:
            raise ConfigError(
                "the section [fit] is there, but nothing is to be fitted.",
                hint="Set run.whitening, fit.mixtures or fit.short, or leave it away.",
            )
        if run.whitening is None and any(m.weight != 1 for m in fit.mixtures):
            raise ConfigError("a mixture's weight is of whitened tokens: it needs run.whitening.")
        if fit.mixtures and run.init != CENTRED:
            raise ConfigError(f'fit.mixtures needs run.init = "{CENTRED}", found {run.init!r}.')
        if fit.mixtures and self.encoder.branches != ("structured",):
            raise ConfigError(
                "fit.mixtures needs a structured convolution alone, found encoder.branches "
                f"{', '.join(self.encoder.branches)}.",
                hint='encoder.branches = ["structured"]',
            )
        learnt = set() if self.data is None else {self.data.shards, *self.data.more_shards}
        shared = sorted(learnt & set(fit.shards))
        if self.data is not None and shared and not fit.subjects:
            raise ConfigError(
                f"fit.shards names {some(shared)}, whose test subjects the run is checked on.",
                hint=f'fit.subjects = "{self.data.train}" leaves them out.',
            )

    def to_dict(self) -> dict[str, Any]:
        """Return every setting, resolved, by section; sections that are not used left out."""
        return {name: table for name, table in super().to_dict().items() if table is not None}
