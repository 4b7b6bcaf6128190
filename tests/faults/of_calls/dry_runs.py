"""Dry runs: they know all that can be known without voxels, and write nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from damage import NOT_HERE, edit, edit_json, fifo, put
from faults import CallFault
from scenes import PARTICIPANT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scenes import Victim

DRY_RUN = (*PARTICIPANT, "--dry-run")


def dry_run_faults() -> Iterator[CallFault]:
    """Yield dry runs of what is known without voxels: they end as the real run would."""
    scans: dict[str, tuple[Callable[[Victim], object], str]] = {
        "confounds-missing": (lambda v: v.confounds.unlink(), "no desc-confounds_timeseries"),
        "confounds-empty": (lambda v: put(b"")(v.confounds), "confounds_timeseries.tsv.*table"),
        "confounds-a-row-less": (
            lambda v: edit(lambda raw: raw[: raw.rstrip().rfind(b"\n") + 1])(v.confounds),
            "99 rows, but the image has 100 volumes",
        ),
        "confounds-pointer": (
            lambda v: NOT_HERE["annex-pointer"](v.confounds), "datalad get .*confounds",
        ),
        "image-pointer": (lambda v: NOT_HERE["annex-pointer"](v.bold), "datalad get"),
        "image-fifo": (lambda v: fifo(v.bold), "named pipe"),
        "image-empty": (lambda v: put(b"")(v.bold), "bold.nii.gz.*the file is empty"),
        "sidecar-no-json": (lambda v: put("{")(v.sidecar), "bold.json.*not readable as JSON"),
        "tr-2000": (
            lambda v: edit_json(RepetitionTime=2000)(v.sidecar), "repetition time of 2000 s",
        ),
        "mask-dangling": (
            lambda v: NOT_HERE["annex-link"](v.mask), "datalad get .*brain_mask.nii.gz",
        ),
    }  # fmt: skip
    for name, (damage, says) in scans.items():
        yield CallFault(
            name=f"dry-run/{name}",
            words=DRY_RUN,
            prepare=lambda scene, d=damage: d(scene.victim()),
            codes=frozenset({1}),
            says=("1 failed, 1 ready", says),
            writes=False,
        )
    yield CallFault(name="dry-run/nothing", words=DRY_RUN, codes=frozenset({0}), writes=False)
    for name, more, says in (
        ("atlas-absent", ("--atlas", "{here}/no-atlas"), "no atlas is installed"),
        ("checkpoint-nowhere", ("--checkpoint", "{here}/nowhere"), "nowhere.*not a checkpoint"),
    ):
        yield CallFault(
            name=f"dry-run/{name}",
            words=(*DRY_RUN, *more),
            codes=frozenset({78}),
            says=(says,),
            writes=False,
        )
    yield CallFault(
        name="dry-run/output-of-another",
        words=DRY_RUN,
        prepare=lambda scene: (
            scene.out.mkdir(), put('{"Name": "x"}')(scene.out / "dataset_description.json"),
        ),
        codes=frozenset({2}),
        says=("another dataset",),
        writes=False,
    )  # fmt: skip
