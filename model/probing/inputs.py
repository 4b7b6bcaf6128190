"""What is probed: embeddings of a group table, or features of the series of an output folder."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model.pretraining.untrained import shrinkage_of, untrained, untrained_whitened
from model.probing.features import (
    correlations,
    covariance,
    crop_extractor,
    drop_missing,
    extract,
    subject_of,
)
from model.probing.methods import WHITENED
from model.probing.samples import refuse_copies

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from model.cohort.outputs import Run
    from model.encoder import Encoder
    from model.probing.config import ProtocolConfig
    from model.probing.features import Extractor
    from model.probing.group_table import GroupTable
    from model.probing.participants import Labels
    from model.probing.samples import Samples

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Samples of the labelled subjects, without what some of them lack."""

    samples: dict[str, Samples]
    """By kind, as `model.probing.methods.features_of` names them."""
    source: dict[str, Any]
    """Checkpoint, hash of the data, sizes: for the results."""


def table_features(table: GroupTable, labels: Labels) -> Features:
    """Take the embeddings of a group table, one sample per scan."""
    samples = table.samples.of(labels.subjects)
    contents = [row.tobytes() for row in samples.values]
    digest = refuse_copies(zip(samples.subjects, samples.scans, contents, strict=True))
    return _features({"crops": samples}, digest, readout=table.readout, checkpoint=table.model)


def series_features(
    runs: Sequence[Run],
    labels: Labels,
    encoder: Encoder,
    config: ProtocolConfig,
    *,
    kinds: Collection[str],
) -> Features:
    """Read the series of the labelled subjects and compute features.

    Parameters
    ----------
    encoder
        With its card; its weights drawn anew make ``random-crops``.
    kinds
        Which of ``crops``, ``random-crops``, ``random-whitened-crops``, ``fc`` and
        ``covariance``.
    """
    card = encoder.own_card()
    readout = config.readout or card.readout

    def through(network: Encoder) -> Extractor:
        return crop_extractor(network, card.input, readout=readout, n_crops=config.n_crops)

    extractors: Mapping[str, Callable[[], Extractor]] = {
        "crops": lambda: through(encoder),
        "random-crops": lambda: through(untrained(encoder, seed=config.seed)),
        WHITENED: lambda: through(untrained_whitened(encoder, seed=config.seed)),
        "fc": lambda: correlations,
        "covariance": lambda: covariance,
    }
    chosen = [run for run in runs if subject_of(run) in labels.values]
    samples, digest = extract(chosen, {k: make() for k, make in extractors.items() if k in kinds})
    checkpoint: dict[str, Any] = {
        "Name": card.name,
        "Version": card.version,
        "WeightsSHA256": card.weights_sha256,
    }
    if WHITENED in kinds:
        checkpoint["RandomWhiteningShrinkage"] = shrinkage_of(encoder)
    return _features(samples, digest, readout=readout, checkpoint=checkpoint)


def _features(
    raw: Mapping[str, Samples], digest: str, *, readout: Sequence[str], checkpoint: dict[str, Any]
) -> Features:
    samples, sizes = {}, {}
    for kind, values in raw.items():
        samples[kind], n_missing = drop_missing(values)
        sizes[kind] = {
            "n_scans": len(set(values.scans)),
            "n_samples": len(values.scans),
            "n_features": samples[kind].values.shape[1],
            "n_left_out": n_missing,
        }
        if n_missing:
            _LOG.warning(
                "%s: %d of %d features (of a covariance: parcels) are missing in some scan and "
                "left out for all.",
                kind,
                n_missing,
                values.values.shape[1],
            )
    source = {
        "data_sha256": digest,
        "checkpoint": checkpoint,
        "readout": list(readout),
        "features": sizes,
    }
    return Features(samples=samples, source=source)
