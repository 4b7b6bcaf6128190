"""Several folders of shards as one: cohorts that are learned from together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from model.files.content import real_path
from model.files.write import text_sha256
from model.shards.stored import ShardError, Shards
from model.shards.subjects import SubjectList

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from model.shards.stored import StoredScan


class PooledShards(Shards):
    """Cohorts under their folders' names, which come before those of subjects and shards.

    Parameters
    ----------
    folders
        Two or more, as `write_shards` wrote them.

    Raises
    ------
    ShardError
        As for each of them; or two have one name, or other sampling or normalization.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.cohorts = {real_path(folder).name: Shards(folder) for folder in folders}
        if len(self.cohorts) < len(folders):
            raise ShardError(
                f"expected folders of different names, found {', '.join(map(str, folders))}.",
                hint="A cohort is named after its folder; rename one.",
            )
        self.folder = real_path(folders[0]).parent
        kinds = {name: cohort.description for name, cohort in self.cohorts.items()}
        if len({(kind.tr_s, kind.normalization) for kind in kinds.values()}) > 1:
            found = [f"{n}: TR {k.tr_s} s, {k.normalization}" for n, k in kinds.items()]
            raise ShardError(
                f"cohorts are not sampled and normalized alike: {'; '.join(found)}.",
                hint="Write them again with one --normalization.",
            )
        self.scans = tuple(
            replace(
                scan,
                subject=f"{name}/{scan.subject}",
                scan=f"{name}/{scan.scan}",
                shard=f"{name}/{scan.shard}",
            )
            for name, cohort in self.cohorts.items()
            for scan in cohort.scans
        )
        self.description = replace(
            next(iter(kinds.values())),
            made_from="; ".join(f"{name}: {kind.made_from}" for name, kind in kinds.items()),
            n_scans=sum(kind.n_scans for kind in kinds.values()),
            n_subjects=sum(kind.n_subjects for kind in kinds.values()),
            excluded={f"{n}/{s}": why for n, k in kinds.items() for s, why in k.excluded.items()},
            index_sha256=text_sha256("\n".join(k.index_sha256 for k in kinds.values())),
            licence="; ".join(f"{name}: {kind.licence}" for name, kind in kinds.items()),
        )

    def _map(self, scan: StoredScan) -> npt.NDArray[np.float32]:
        name, _, shard = scan.shard.partition("/")
        return self.cohorts[name]._map(replace(scan, shard=shard))

    def lists(self, files: Mapping[str, str]) -> dict[str, SubjectList]:
        """Join the lists of the cohorts, each of which has all; as `Shards.lists`."""
        found = {name: cohort.lists(files) for name, cohort in self.cohorts.items()}
        return {part: _joined({n: lists[part] for n, lists in found.items()}) for part in files}


def _joined(lists: Mapping[str, SubjectList]) -> SubjectList:
    return SubjectList(
        subjects=tuple(f"{name}/{s}" for name, each in lists.items() for s in each.subjects),
        sha256=text_sha256("\n".join(each.sha256 for each in lists.values())),
    )


def open_shards(folders: Sequence[Path]) -> Shards:
    """Open one folder of shards, or several as one."""
    return Shards(folders[0]) if len(folders) == 1 else PooledShards(folders)
