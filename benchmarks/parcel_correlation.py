"""Measure what parcels of a network have in common, from which a lost one is guessed.

Writes ``model/data/correlation.npz``: for each cortical network the mean correlation of its
parcels over the scans that may be fitted to (`benchmarks/real_cohorts.py`), STAGES and ds000220
alike. There are no such series of subcortex and cerebellum. Usage::

    python benchmarks/real_cohorts.py SHARDS
    python benchmarks/parcel_correlation.py SHARDS
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from model.fitting.data import open_data
from model.fitting.mixtures import mean_correlation
from model.fitting.settings import FitConfig
from model.networks import NETWORKS, network_columns
from model.spec import InputSpec

COHORTS = ("stages", "ds000220")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", type=Path, help="folder of the cohorts' folders")
    parser.add_argument("--out", type=Path, default=Path("model/data/correlation.npz"))
    options = parser.parse_args()
    folders = tuple(str(options.shards / name) for name in COHORTS)
    data = open_data(FitConfig(shards=folders), InputSpec(), simulation=None, seed=0)
    data.verify()
    correlation = mean_correlation(data)
    cortical = {name: network_columns(name) for name in NETWORKS[:7]}
    blocks = {
        name: correlation[np.ix_(columns, columns)].astype(np.float16)
        for name, columns in cortical.items()
    }
    np.savez_compressed(options.out, **blocks)
    print(f"{options.out}: {sum(b.size for b in blocks.values())} correlations")


if __name__ == "__main__":
    main()
