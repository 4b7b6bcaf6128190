"""Participant outputs as the group level reads them, written without embedding anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from model.cohort.names import embedding_columns

if TYPE_CHECKING:
    from pathlib import Path

STEM = "task-rest_space-MNI152NLin6Asym_atlas-Semantoks457"


def write_run(out: Path, sub: str, *, seed: int, dim: int = 2, **changes: Any) -> Path:
    """Write status, scan embedding and sidecar of one run; return the path of the status.

    `changes` are keys of the status.
    """
    folder = out / f"sub-{sub}" / "func"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"sub-{sub}_{STEM}_status.json"
    status = {
        "Status": "embedded",
        "Reason": "",
        "Entities": {"sub": sub, "task": "rest", "space": "MNI152NLin6Asym", "desc": "preproc"},
        "Source": f"bids:preprocessed:sub-{sub}/func/sub-{sub}_task-rest_bold.nii.gz",
        "ConfigurationHash": "0123456789abcdef-01234567",
        "SoftwareVersion": "semantoks 0",
        "Inputs": {},
        "Outputs": {},
        "QC": {"n_volumes": 300, "tr": 2.0, "mean_fd": 0.1 + seed, "flags": {}},
    }
    path.write_text(json.dumps(status | changes))
    if (status | changes)["Status"] == "embedded":
        write_embedding(path, seed=seed, dim=dim)
    return path


def write_embedding(status: Path, *, seed: int, dim: int = 2) -> Path:
    """Write the scan embedding beside a status, the last network without signal."""
    names = embedding_columns(dim)
    values = np.random.default_rng(seed).normal(size=len(names))
    words = [f"{value:.8f}"[:9] for value in values[:-dim]] + ["n/a"] * dim
    table = status.with_name(status.name.replace("_status.json", "_desc-scan_embedding.tsv"))
    table.write_text("\t".join(names) + "\n" + "\t".join(words) + "\n")
    sidecar = dict.fromkeys(("Model", "Parts", "Atlas", "SoftwareVersion"), "x")
    sidecar["ScanVector"] = ["networks"]
    table.with_suffix(".json").write_text(json.dumps(sidecar | {"EmbeddingDimension": dim}))
    return table
