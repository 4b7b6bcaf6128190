"""Found and imported by the registry of brainmarks: what `semantoks-model brainmarks` wrote."""

from __future__ import annotations

import json
from pathlib import Path

from brainmarks.datasets.base import HFDataset, get_dataset_root, load_arrow_dataset
from brainmarks.datasets.registry import register_dataset


@register_dataset
def semantoks(space: str, *, cohort: str, target: str) -> dict[str, HFDataset]:
    """Open a data set below ``BRAINMARKS_DATA_ROOT``.

    Parameters
    ----------
    space
        The model's.
    cohort
        Name of the data set.
    target
        Column of the participants table that was exported.
    """
    root = Path(get_dataset_root(cohort))
    labels = json.loads((root / f"targets/{cohort}_target_map_{target}.json").read_text("utf-8"))
    return {
        split: HFDataset(
            load_arrow_dataset(root / f"{cohort}.{space}.arrow" / split),
            target_key="sub",
            target_map=labels,
        )
        for split in ("train", "validation", "test")
    }
