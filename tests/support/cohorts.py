"""Cohorts for the page: scans with quality numbers and embeddings, without files."""

from __future__ import annotations

import numpy as np

from bids_app.cohort_page.scans import Embedded, PageScan

EVIL = "<script>alert(1)</script>"


def page_scans(n_people: int, n_sessions: int = 2, *, seed: int = 0, **known: str):
    """Scans with numbers as real ones have them, each with an address in its person's page."""
    rng = np.random.default_rng(seed)
    return [
        PageScan(
            identifiers={
                "participant_id": f"sub-{person:04d}",
                "session_id": f"ses-{session}",
                "task_id": "rest",
            },
            status="embedded",
            reason="",
            numbers={
                "tr": 2.0,
                "n_volumes": 300,
                "duration": 600.0,
                "usable_seconds": 590.0,
                "mean_fd": float(rng.lognormal(-2, 0.5)),
                "max_fd": float(rng.lognormal(-0.5, 0.5)),
                "mean_std_dvars": float(rng.normal(1.2, 0.05)),
                "interpolated_fraction": float(abs(rng.normal(0, 0.01))),
                "degrees_of_freedom": 40,
                "tsnr": float(rng.normal(180, 30)),
                "coverage_mean": float(rng.uniform(0.95, 1)),
                "coverage_min": float(rng.uniform(0.5, 1)),
                "n_low_coverage_parcels": int(rng.poisson(2)),
                "n_missing_parcels": 0,
                "homotopic_correlation": float(rng.normal(0.35, 0.05)),
                "network_contrast": float(rng.normal(0.2, 0.03)),
                "order_margin": float(rng.normal(0.04, 0.01)),
                "mirror_margin": float(rng.normal(0.01, 0.001)),
                "n_constant_parcels": 0,
                "n_implausible_parcels": 0,
                "missing_networks": [],
                "mask": "file",
            },
            flags={},
            known={"site": "ABCD"[person % 4], "age": 20 + person % 60, **known},
            page=f"sub-{person:04d}.html#ses-{session}_task-rest",
        )
        for person in range(n_people)
        for session in range(1, n_sessions + 1)
    ]


def embeddings(n_people: int, n_sessions: int = 2, *, dim: int = 200, seed: int = 0) -> Embedded:
    """Embeddings of these scans, in which people differ."""
    rng = np.random.default_rng(seed)
    people = np.repeat(np.arange(n_people), n_sessions)
    own = rng.standard_normal((n_people, dim), dtype=np.float32)[people]
    vectors = own + 0.7 * rng.standard_normal((len(people), dim), dtype=np.float32)
    places = tuple(range(len(people)))
    return Embedded(table="group_desc-scan_embedding", space="", places=places, vectors=vectors)
