"""Participant outputs as the group level reads them, written without embedding anything."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from model.cohort.names import embedding_columns, parts_of
from model.networks import NETWORKS

if TYPE_CHECKING:
    from pathlib import Path

STEM = "task-rest_space-MNI152NLin6Asym_atlas-Semantoks457"


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder by name, but the logs, which tell the time."""
    return {
        name: path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not (name := path.relative_to(folder).as_posix()).startswith("logs/")
    }


def of_scan(made: Path, sub: str, ending: str) -> Path:
    """Find the one file of a participant, below ``out``, whose name ends so."""
    (path,) = (made / "out" / f"sub-{sub}").rglob(f"*{ending}")
    return path


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
    if (status | changes)["Status"] == "embedded":
        configuration = (status | changes)["ConfigurationHash"]
        table = write_embedding(path, seed=seed, dim=dim, configuration=configuration)
        status["Outputs"] = {p.name: digest(p) for p in (table, table.with_suffix(".json"))}
    path.write_text(json.dumps(status | changes))
    return path


def digest(path: Path) -> dict[str, Any]:
    """Return what a status says of one of its outputs."""
    content = path.read_bytes()
    return {"Size": len(content), "SHA256": hashlib.sha256(content).hexdigest()}


def sign(status: Path, *files: Path) -> None:
    """Make a status say of files what they are now, as someone who tampers with both does."""
    content = json.loads(status.read_text())
    content["Outputs"] |= {path.name: digest(path) for path in files}
    status.write_text(json.dumps(content))


def write_embedding(status: Path, *, seed: int, dim: int, configuration: str) -> Path:
    """Write the scan embedding beside a status, the last network without signal."""
    names = embedding_columns(dim, parts_of(NETWORKS))
    values = np.random.default_rng(seed).normal(size=len(names))
    words = [f"{value:.8f}"[:9] for value in values[:-dim]] + ["n/a"] * dim
    table = status.with_name(status.name.replace("_status.json", "_desc-scan_embedding.tsv"))
    table.write_text("\t".join(names) + "\n" + "\t".join(words) + "\n")
    sidecar = dict.fromkeys(("Atlas", "SoftwareVersion"), "x") | {
        "Parts": dict.fromkeys(parts_of(NETWORKS), "x"),
        "ConfigurationHash": configuration,
        "Model": {"Name": "x", "WeightsSHA256": "0" * 64},
        "EmbeddingDimension": dim,
        "ScanVector": ["networks"],
        "MissingNetworks": ["Cerebellum"],
        "Settings": {"version": "0", "space": "MNI152NLin6Asym", "signal": {"tr_s": None}},
    }
    table.with_suffix(".json").write_text(json.dumps(sidecar))
    return table
