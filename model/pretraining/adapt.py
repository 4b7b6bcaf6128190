"""Go on training on a cohort of one's own, and tell honestly whether that helped."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from model.embed import embed_windows
from model.errors import ConfigError, SemantoksError
from model.preprocess import window
from model.pretraining.run_folder import SHARDS_FOLDER
from model.shards.incoming import scans_of_outputs
from model.shards.store import write_shards
from model.shards.stored import DESCRIPTION, Shards
from model.shards.subjects import SubjectsError, split_subjects, write_lists
from model.statistics.bootstrap import mean_interval, resample
from model.statistics.measures import pair_scores, standardise

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from model.encoder import Encoder
    from model.series import FloatArray, ParcelSeries
    from model.shards.crops import Cohort
    from model.spec import InputSpec, ReadoutPart

VALIDATION_SHARE, TEST_SHARE = 0.1, 0.2
MIN_TEST = 5
"""Subjects that a check needs; with fewer, chance decides."""
N_RESAMPLES = 10_000


class AdaptationError(SemantoksError):
    """An adaptation did not help; its results are written, and say so."""


def prepare_cohort(
    data: Path, out: Path, spec: InputSpec, *, seed: int, report: Callable[[str], None]
) -> Path:
    """Return a folder of shards with lists of subjects, made of participant outputs if need be.

    Parameters
    ----------
    data
        OUTPUT_DIR of the participant level, or a folder of shards that has its lists.
    out
        Folder of the run; gets ``shards/`` unless it is there.
    spec
        Input of the encoder.
    seed
        Of the division into training, validation and test.
    report
        Gets lines of progress.

    Raises
    ------
    ConfigError
        Several processes were started before the shards were there.
    SemantoksError
        The outputs cannot be used.
    """
    if (data / DESCRIPTION).exists():
        return data
    folder = out / SHARDS_FOLDER
    if not (folder / DESCRIPTION).exists():
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError(
                f"{data}: expected a folder of shards, for several processes train together.",
                hint="Write them first: semantoks-model shards outputs, then split.",
            )
        made = write_shards(folder, scans_of_outputs(data, spec), spec, made_from=str(data.name))
        report(
            f"{made.n_scans} scans of {made.n_subjects} subjects stored in {folder}, "
            f"{len(made.excluded)} left out"
        )
    if not (folder / "train.txt").exists():
        parts = split_subjects(
            list(Shards(folder).by_subject),
            validation=VALIDATION_SHARE,
            test=TEST_SHARE,
            seed=seed,
        )
        write_lists(folder, parts)
    return folder


def check_size(test: Cohort) -> None:
    """Refuse a held-out group that is too small to check anything on."""
    if len(test.subjects) < MIN_TEST:
        raise SubjectsError(
            f"expected at least {MIN_TEST} test subjects to check the adaptation on, found "
            f"{len(test.subjects)}.",
            hint="Put more subjects on the test list; a fifth of the cohort is usual.",
        )


def compare(
    parent: Encoder, adapted: Encoder, test: Cohort, readout: tuple[ReadoutPart, ...]
) -> dict[str, Any]:
    """Ask both encoders who is who among subjects that neither was trained on.

    Parameters
    ----------
    parent, adapted
        Encoder before and after.
    test
        Held-out subjects: two sessions are compared where all have two, else the two halves of
        one scan.
    readout
        Parts of the vector that is compared.

    Returns
    -------
    Identification (%) and differential identifiability (100 x the correlation with oneself
    minus that with others) of both, features standardised over all that is compared, without
    networks that one of the scans lacks; the gain
    in the latter with its 95 % interval (paired bootstrap over subjects); and whether the
    adaptation ``helped``: the interval is above zero and identification not lower.
    """
    n_sessions = min(len(test.shards.by_subject[s]) for s in test.subjects)
    pieces = [_pair(test, subject, sessions=n_sessions > 1) for subject in test.subjects]
    scores = {}
    for name, encoder in (("before", parent), ("after", adapted)):
        encoder.eval()
        vectors = np.stack(
            [
                [
                    embed_windows(window(half, test.spec), encoder, readout=readout).scan_vector()
                    for half in pair
                ]
                for pair in pieces
            ]
        )
        first, second = standardise(*_in_all(vectors).astype(np.float64).transpose(1, 0, 2))
        scores[name] = pair_scores(first, second)
    gain = scores["after"]["i_diff"] - scores["before"]["i_diff"]
    low, high = mean_interval(gain, resample(len(gain), N_RESAMPLES, seed=0))
    found = {
        measure: {name: round(float(each[measure].mean()), 3) for name, each in scores.items()}
        for measure in ("identification", "i_diff")
    }
    kept = found["identification"]["after"] >= found["identification"]["before"]
    return {
        "compared": "two sessions" if n_sessions > 1 else "the halves of one scan",
        "n_test_subjects": len(test.subjects),
        **found,
        "i_diff_gain": round(float(gain.mean()), 3),
        "i_diff_gain_95": [round(low, 3), round(high, 3)],
        "helped": bool(low > 0 and kept),
    }


def _in_all(vectors: FloatArray) -> FloatArray:
    """Leave the features out of (S, 2, F) that are NaN in any vector: a network is missing."""
    shared = ~np.isnan(vectors).any(axis=(0, 1))
    if not shared.any():
        raise SubjectsError(
            "expected a network that all test subjects have, found none.",
            hint="Take subjects off the test list in whose scans most networks are missing.",
        )
    return np.asarray(vectors[..., shared])


def _pair(test: Cohort, subject: str, *, sessions: bool) -> tuple[ParcelSeries, ParcelSeries]:
    """Return the two series of a subject that should look alike."""
    by_session = list(test.shards.by_subject[subject].values())
    if sessions:
        first, second = (test.shards.series(scans[0]) for scans in by_session[:2])
        return first, second
    whole = test.shards.series(by_session[0][0])
    middle = whole.n_frames // 2
    return whole.with_values(whole.values[:middle]), whole.with_values(whole.values[middle:])


def state_result(check: dict[str, Any]) -> str:
    """Say in one sentence what the check found."""
    found, i_diff, interval = (check[k] for k in ("identification", "i_diff", "i_diff_gain_95"))
    verdict = "helped" if check["helped"] else "did not help"
    return (
        f"the adaptation {verdict}: on {check['n_test_subjects']} held-out subjects "
        f"({check['compared']}) identification went from {found['before']:.0f} to "
        f"{found['after']:.0f} %, differential identifiability from {i_diff['before']:.1f} to "
        f"{i_diff['after']:.1f} (95 % interval of the gain {interval[0]:.2f} to "
        f"{interval[1]:.2f})"
    )
