"""The subjects of one list and their stored scans: which crops of whom make a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from model.networks import predict_missing
from model.shards.stored import SHOWN, ShardError, Shards, StoredScan
from model.shards.subjects import SubjectsError
from model.simulation.draws import ORDER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.spec import InputSpec


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Frames of a stored scan."""

    scan: StoredScan
    start: int


class Cohort:
    """Subjects with stored scans.

    Parameters
    ----------
    shards
        The data.
    subjects
        Those used, all of which are in it.
    spec
        Length of a crop, sampling and normalization that the data must have.
    n_sessions
        Sessions that the views come from: two, or one.
    all_have
        Whether each subject must have so many; if not, both views of one who has fewer are of
        one scan.

    Raises
    ------
    ShardError
        The series are not what the encoder takes, or scans are shorter than a window.
    SubjectsError
        Subjects have fewer sessions.
    """

    def __init__(
        self,
        shards: Shards,
        subjects: Sequence[str],
        spec: InputSpec,
        *,
        n_sessions: int,
        all_have: bool = True,
    ) -> None:
        shards.refuse_unlike(spec)
        self.shards, self.subjects, self.spec = shards, tuple(subjects), spec
        self.n_sessions = n_sessions
        short = [str(s) for s in self.scans if s.n_frames < spec.window_samples]
        if short:
            raise ShardError(
                f"{shards.folder}: {len(short)} scans are shorter than a window of "
                f"{spec.window_samples} samples: {', '.join(short[:SHOWN])}."
            )
        few = [s for s in self.subjects if len(shards.by_subject[s]) < n_sessions]
        if few and all_have:
            raise SubjectsError(
                f"expected {n_sessions} sessions of every subject, {len(few)} of "
                f"{len(self.subjects)} have fewer: {', '.join(few[:SHOWN])}.",
                hint="Take them off the lists, or take both views from one scan "
                "(views.pairing=scan; either: of these only).",
            )

    @property
    def scans(self) -> list[StoredScan]:
        """All scans of the subjects."""
        by_subject = self.shards.by_subject
        return [x for s in self.subjects for scans in by_subject[s].values() for x in scans]

    def subjects_of(self, step: int, *, batch_size: int, seed: int) -> list[str]:
        """Return the subjects of a step: every subject once an epoch, in new order each."""
        n_batches = len(self.subjects) // batch_size
        epoch, position = divmod(step, n_batches)
        draws = np.random.default_rng(np.random.SeedSequence([seed, epoch], spawn_key=(ORDER,)))
        order = draws.permutation(len(self.subjects))
        chosen = order[position * batch_size : (position + 1) * batch_size]
        return [self.subjects[i] for i in chosen]

    def draw_crops(
        self, subjects: Sequence[str], *, generator: torch.Generator
    ) -> tuple[list[Crop], list[Crop]]:
        """Draw the crops of both views: sessions, scans and starts uniform, starts independent.

        With one session to a subject both views are crops of one scan, else of two sessions.
        """
        uniform = torch.rand(len(subjects), 6, generator=generator).tolist()
        pairs = [self._pair(s, row) for s, row in zip(subjects, uniform, strict=True)]
        return [first for first, _ in pairs], [second for _, second in pairs]

    def _pair(self, subject: str, uniform: list[float]) -> tuple[Crop, Crop]:
        sessions = list(self.shards.by_subject[subject].values())
        first = _index(uniform[0], len(sessions))
        scan = sessions[first][_index(uniform[1], len(sessions[first]))]
        other = scan
        if self.n_sessions == 2 and len(sessions) > 1:
            step = 1 + _index(uniform[2], len(sessions) - 1)
            second = sessions[(first + step) % len(sessions)]
            other = second[_index(uniform[3], len(second))]
        return self._crop(scan, uniform[4]), self._crop(other, uniform[5])

    def _crop(self, scan: StoredScan, uniform: float) -> Crop:
        return Crop(scan=scan, start=_index(uniform, scan.n_frames - self.spec.window_samples + 1))

    def read(self, crops: Sequence[Crop]) -> tuple[Tensor, Tensor]:
        """Read crops.

        Returns
        -------
        (B, P, L) values, where parcels are missing as `model.preprocess.window` fills them, and
        (B, P) true where a parcel is missing.
        """
        length = self.spec.window_samples
        windows, lost = [], []
        for crop in crops:
            values = self.shards.read(crop.scan, start=crop.start, stop=crop.start + length)
            missing = np.isnan(values[0])
            filled = predict_missing(values, missing) if missing.any() else values
            windows.append(filled.astype(np.float32).T)
            lost.append(missing)
        return torch.from_numpy(np.stack(windows)), torch.from_numpy(np.stack(lost))


def _index(uniform: float, n: int) -> int:
    """Choose one of ``n`` by a draw from [0, 1)."""
    return min(int(uniform * n), n - 1)
