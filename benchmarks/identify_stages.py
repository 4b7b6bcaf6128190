"""Identify the 14 STAGES development subjects from one session to the other.

Accuracy is the share of subjects whose most similar (Pearson) embedding of the other session
is their own, both directions averaged; chance is 7 %. Raw, and with every feature
standardised over the evaluated set (no labels). Full scan: windows averaged. One window: mean
over all pairs of one window per session. Usage::

    python benchmarks/identify_stages.py [--checkpoint FOLDER] [--data FILE.npz]
        [--fit-shards FOLDER ...]
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stages import SERIES, load_scans

from model.checkpoint import load_encoder
from model.encoder import Encoder, build_encoder
from model.evaluation.baselines import connectivity
from model.evaluation.encoded import encode
from model.evaluation.vectors import ByLevel, Vectors
from model.preprocess import prepare, window
from model.pretraining.untrained import before_training, untrained_whitened
from model.spec import EncoderSpec, InputSpec
from model.statistics.measures import mean_scores
from model.statistics.pairing import Key, pairings

Array = npt.NDArray[np.float64]
RANDOM_SEEDS = (0, 1, 2)


def main() -> None:
    options = _parse_arguments()
    trained = load_encoder(options.checkpoint) if options.checkpoint else None
    spec = trained.spec if trained else EncoderSpec(dim=256, depth=2, heads=4)
    subjects = load_scans(options.data)
    keys = [Key(f"{s:02d}", str(t)) for s in range(len(subjects)) for t in (1, 2)]
    series = [prepare(scan, InputSpec()) for pair in subjects for scan in pair]
    windows = [window(scan, InputSpec()) for scan in series]
    rows = scores(
        {
            "scan": Vectors(keys=keys, sets=connectivity([scan.values for scan in series])),
            "window": Vectors(
                keys=[
                    Key(k.subject, k.session, "", i)
                    for k in keys
                    for i in range(len(windows[0].values))
                ],
                sets=connectivity(
                    [
                        np.where(w.missing[:, None], np.nan, piece).T
                        for w in windows
                        for piece in w.values
                    ],
                    [scan.values for scan in series],
                ),
            ),
        }
    )
    plain = replace(spec, whitened=False, short=0)
    encoders = {"random": [build_encoder(plain, seed=s).eval() for s in RANDOM_SEEDS]}
    if trained:
        encoders |= controls(trained, options.fit_shards) | {options.checkpoint.name: [trained]}
    for name, alike in encoders.items():
        found = [scores(encode(keys, windows, encoder)) for encoder in alike]
        for part in found[0]:
            rows[f"{name} {spec.dim}/{spec.depth}, {part}"] = np.mean(
                [scored[part] for scored in found], axis=0
            )
    print_table(rows)
    print(json.dumps({"data": options.data.name, "n": len(subjects), **_rounded(rows)}))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--data", type=Path, default=SERIES)
    parser.add_argument("--fit-shards", type=Path, nargs="+", default=[])
    return parser.parse_args()


def controls(trained: Encoder, folders: list[Path]) -> dict[str, list[Encoder]]:
    """Training and whitening, each without the other."""
    first = before_training(trained, folders=folders)
    found = {} if first is None else {"before training": [first]}
    if trained.spec.whitened:
        plain = {f"{name}, not whitened": [_plain(encoder)] for name, [encoder] in found.items()}
        random = [untrained_whitened(trained, seed=s, folders=folders) for s in RANDOM_SEEDS]
        found |= plain | {"random, whitened": random, "trained, not whitened": [_plain(trained)]}
    return found


def _plain(encoder: Encoder) -> Encoder:
    """Leave the whitening away."""
    plain = Encoder(replace(encoder.spec, whitened=False, short=0)).eval()
    weights = encoder.state_dict()
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    return plain


def scores(by_level: ByLevel) -> dict[str, Array]:
    """(4,) full scan raw, full scan standardised, one window raw, one window standardised."""
    return {
        name: np.array(
            [
                mean_scores(
                    by_level[level].sets[name],
                    pairings(by_level[level].keys),
                    standardised=standardised,
                )[1]["identification"].mean()
                for level in ("scan", "window")
                for standardised in (False, True)
            ]
        )
        for name in by_level["scan"].sets
    }


def print_table(rows: dict[str, Array]) -> None:
    print("| accuracy, % | full scan raw | full scan std | one window raw | one window std |")
    print("|---|---|---|---|---|")
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(f"{v:.1f}" for v in values) + " |")


def _rounded(rows: dict[str, Array]) -> dict[str, list[float]]:
    return {name: [round(float(v), 1) for v in values] for name, values in rows.items()}


if __name__ == "__main__":
    main()
