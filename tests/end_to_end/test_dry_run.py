"""The dry run says what the real run will: the same outcomes, reasons and exit code."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import builders
import nibabel as nib
import numpy as np
import pytest

from bids_app.cli.app import main, resolve_options
from bids_app.dry_run import asked_runs, dry_run
from bids_app.inputs.eligible import BoldFile
from bids_app.participant import run_participants
from model.spec import WEIGHTS

if TYPE_CHECKING:
    from pathlib import Path

    from bids_app.options import RunOptions


@pytest.fixture
def options(tmp_path, atlas, checkpoint):
    def make(*words: object) -> RunOptions:
        call = [tmp_path / "in", tmp_path / "out", "participant", "--atlas", atlas, "--checkpoint",
                checkpoint, "--n-cpus", 1, "--no-reports", *words]  # fmt: skip
        return resolve_options(main.make_context("semantoks", [str(word) for word in call]).params)

    return make


def no_confounds(scan) -> None:
    scan.confounds.unlink()
    scan.confounds_metadata.unlink()


def another_grid(scan) -> None:
    image = nib.load(scan.mask)
    affine = image.affine.copy()
    affine[:3, 3] += 1
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), scan.mask)


def no_image(scan) -> None:
    scan.bold.write_bytes(b"not an image")


def steady_never(scan) -> None:
    table = builders.read_confounds(scan)
    table["non_steady_state_outlier00"] = 1
    table.to_csv(scan.confounds, sep="\t", index=False, na_rep="n/a")


FAULTS = {
    "confounds": no_confounds,
    "empty": lambda scan: scan.confounds.write_text(""),
    "columns": lambda scan: builders.drop_columns(scan, "csf"),
    "rows": lambda scan: (
        builders.read_confounds(scan).iloc[:50].to_csv(scan.confounds, sep="\t", na_rep="n/a")
    ),
    "ms": lambda scan: builders.edit_sidecar(scan, RepetitionTime=2000),
    "sparse": lambda scan: builders.edit_sidecar(scan, VolumeTiming=[0, 1]),
    "start": lambda scan: builders.edit_sidecar(scan, StartTime=5.0),
    "json": lambda scan: scan.sidecar.write_text("{"),
    "mask": another_grid,
    "nomask": lambda scan: scan.mask.write_bytes(b""),
    "image": no_image,
    "short": lambda scan: builders.cut_volumes(scan, keep=15),
    "few": lambda scan: builders.cut_volumes(scan, keep=60),
    "dummies": steady_never,
}


def test_outcomes_reasons_and_exit_code_are_those_of_the_real_run(tmp_path, options) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("good", *FAULTS))
    for scan in data.scans:
        label = scan.bold.name.partition("_")[0].removeprefix("sub-")
        if label in FAULTS:
            FAULTS[label](scan)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    found = dry_run(options())
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    done = run_participants(options())
    expected = {f.scan.entities.sub: (f.status, f.reason) for f in found.forecasts}
    really = {o.scan.entities.sub: (o.status, o.record.reason) for o in done.outcomes}
    assert expected.pop("good") == ("ready", "")
    assert really.pop("good")[0] == "embedded"
    assert expected == really
    assert {status for status, _ in really.values()} == {"failed", "excluded"}
    assert found.exit_code == done.exit_code == 1
    again = dry_run(options())
    statuses = {f.scan.entities.sub: f.status for f in again.forecasts}
    assert statuses.pop("good") == "done"
    excluded = [f for f in again.forecasts if f.status == "done" and "excluded" in f.reason]
    assert sorted(f.scan.entities.sub for f in excluded) == sorted(
        label for label, (status, _) in really.items() if status == "excluded"
    )


def test_what_is_done_and_what_would_be_done_again_and_why(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02", "03", "04"))
    no_confounds(data.scans[3])
    out = tmp_path / "out"
    assert semantoks(data.root, out, "participant", "--participant-label", "01", "02", "04",
                     ).exit_code == 1  # fmt: skip
    builders.edit_sidecar(data.scans[1], Manufacturer="x")
    answer = semantoks(data.root, out, "participant", "--dry-run")
    first, second, third, fourth = (
        line for line in answer.stdout.splitlines() if "_desc-preproc_bold.nii.gz" in line
    )
    assert first.startswith("done")
    assert "again: embedded earlier; changed since: sub-02/" in second
    assert second.endswith("_bold.json (size)")
    assert third.startswith("ready")
    assert third.endswith(".nii.gz")
    assert fourth.startswith("failed")
    assert "4 chosen, 0 refused: 1 done, 2 ready, 1 failed" in answer.output
    assert answer.exit_code == 1
    other = semantoks(data.root, out, "participant", "--dry-run", "--low-pass", "0.09")
    assert "2 ready: again: embedded earlier, with other settings" in other.output
    forced = semantoks(data.root, out, "participant", "--dry-run", "--overwrite")
    assert "2 ready: again: --overwrite" in forced.output  # 03 was never done
    words = ("--participant-label", "01", "--low-pass", "0.09", "--no-reports")
    assert (
        "1 scan embedded earlier with other settings (upper edge of the filter (--low-pass): "
        "0.1 -> 0.09) is replaced; another output folder keeps both. 2 other scans there are not "
        "of this call" in semantoks(data.root, out, "participant", *words).stderr
    )
    assert "is replaced" not in semantoks(data.root, out, "participant", *words).stderr


def damaged_weights(tmp_path: Path, _: Path, checkpoint: Path) -> list[object]:
    folder = shutil.copytree(checkpoint, tmp_path / "weights")
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    return ["--checkpoint", folder]


def damaged_atlas(tmp_path: Path, atlas: Path, _: Path) -> list[object]:
    folder = shutil.copytree(atlas, tmp_path / "atlas")
    builders.edit_atlas_voxels(folder, lambda labels: np.where(labels == 7, 8, labels))
    return ["--atlas", folder]


@pytest.mark.parametrize("damage", [damaged_weights, damaged_atlas])
@pytest.mark.parametrize("words", [("--dry-run",), ()])
def test_a_damaged_checkpoint_or_atlas_ends_both_with_78(
    tmp_path, semantoks, atlas, checkpoint, damage, words
) -> None:
    data = builders.make_dataset(tmp_path / "in")
    extra = damage(tmp_path, atlas, checkpoint)
    answer = semantoks(data.root, tmp_path / "out", "participant", *extra, *words)
    assert answer.exit_code == 78, answer.output


@pytest.mark.parametrize("words", [("--dry-run",), ()])
@pytest.mark.parametrize(
    ("place", "code"), [("in", 2), ("in/sub-01/x", 2), ("file", 2), ("file/x", 73)]
)
def test_an_output_that_cannot_be_ends_both_alike(tmp_path, semantoks, place, code, words) -> None:
    data = builders.make_dataset(tmp_path / "in")
    (tmp_path / "file").write_text("")
    answer = semantoks(data.root, tmp_path / place, "participant", *words)
    assert answer.exit_code == code, answer.output


def test_of_files_that_were_never_fetched_none_is_called_chosen(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=tuple("abcde"))
    for scan in data.scans:
        scan.bold.unlink()
        scan.bold.symlink_to("../.git/annex/objects/gone")
    answer = semantoks(data.root, tmp_path / "out", "participant", "--dry-run")
    assert answer.exit_code == 16
    assert "refused  5 files: annexed file not present" in answer.stdout
    assert "0 chosen, 5 refused" in answer.stdout


def test_native_and_surface_files_are_one_line_each_and_reasons_are_counted(
    tmp_path, semantoks
) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=tuple("abcde"))
    for scan in data.scans:
        folder, stem = scan.bold.parent, scan.bold.name.partition("_space")[0]
        for name in ("space-T1w_desc-preproc_bold.nii.gz", "space-fsnative_hemi-L_bold.func.gii",
                     "hemi-R_space-fsnative_bold.func.gii", "hemi-L_space-fsaverage_bold.func.gii",
                     "space-MNIPediatricAsym_desc-preproc_bold.nii.gz"):  # fmt: skip
            (folder / f"{stem}_{name}").write_bytes(b"")
    for scan in data.scans[2:]:
        no_confounds(scan)
    call = (data.root, tmp_path / "out", "participant", "--dry-run")
    lines = semantoks(*call).stdout.splitlines()
    assert sum("_bold" in line for line in lines) == 5
    told = [line for line in lines if line.startswith("refused")]
    assert any("5 files: in a space of the participant's own" in line for line in told)
    assert any("5 files: space-MNIPediatricAsym, not a template" in line for line in told)
    assert sum("surface series of single hemispheres" in line for line in told) == 1
    assert lines[-2].startswith("5 chosen, ")
    assert lines[-2].endswith(": 2 ready, 3 failed")
    assert lines[-1].startswith("  3 failed: no desc-confounds_timeseries.tsv")
    every = semantoks(*call, "-v").stdout.splitlines()
    assert sum("_bold" in line for line in every) > 15


def test_files_to_fetch_are_listed_for_datalad(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02", "03"))
    pointer = "/annex/objects/MD5E-s1--0.nii.gz\n"
    data.scans[0].mask.write_text(pointer)
    data.scans[1].bold.unlink()
    data.scans[1].bold.symlink_to("../../.git/annex/objects/gone")
    data.scans[1].confounds.unlink()
    data.scans[1].confounds.symlink_to("gone")
    native = data.scans[2].bold.with_name("sub-03_task-rest_space-T1w_desc-preproc_bold.nii.gz")
    native.symlink_to("gone")
    listed = tmp_path / "missing.txt"
    call = (data.root, tmp_path / "out", "participant", "--dry-run", "--list-missing", listed)
    answer = semantoks(*call)
    assert answer.exit_code == 1
    wanted = (data.scans[0].mask, data.scans[1].bold, data.scans[1].confounds)
    assert listed.read_text().splitlines() == [
        path.relative_to(data.root).as_posix() for path in wanted
    ]
    assert f"to fetch: 3, listed in {listed}" in answer.output
    for scan in data.scans:
        scan.bold.unlink()
        scan.bold.symlink_to("gone")
    nothing = semantoks(*call)
    assert nothing.exit_code == 16  # as the real run: nothing was fetched at all
    assert sum(line.endswith("_bold.nii.gz") for line in listed.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "words",
    [
        ("--list-missing", "x"),
        ("--list-missing", "x", "--dry-run", "--explain", "y"),
        ("--list-missing", "-", "--dry-run"),
        ("--explain", ""),  # of a variable that was never set: nothing is embedded
    ],
)
def test_the_list_goes_with_the_dry_run(tmp_path, semantoks, words) -> None:
    data = builders.make_dataset(tmp_path / "in")
    answer = semantoks(data.root, tmp_path / "out", "participant", *words)
    assert answer.exit_code == 2
    assert not (tmp_path / "out").exists()
    inside = ("--dry-run", "--list-missing", str(data.scans[0].sidecar))
    assert semantoks(data.root, tmp_path / "out", "participant", *inside).exit_code == 2
    assert json.loads(data.scans[0].sidecar.read_text())


@pytest.mark.parametrize("kind", ["pipe", "link", "link-to-itself", "device", "folder"])
def test_the_list_replaces_files_alone(tmp_path, semantoks, kind) -> None:
    data = builders.make_dataset(tmp_path / "in")
    place, other = tmp_path / "list", tmp_path / "other.txt"
    other.write_text("mine")
    make = {
        "pipe": os.mkfifo,
        "link": lambda path: path.symlink_to(other),
        "link-to-itself": lambda path: path.symlink_to(path),
        "device": lambda path: path.symlink_to("/dev/null"),
        "folder": os.mkdir,
    }
    make[kind](place)
    before = place.lstat()
    words = ("--dry-run", "--list-missing", str(place))
    answer = semantoks(data.root, tmp_path / "out", "participant", *words)
    assert answer.exit_code == 2, answer.output
    assert "--list-missing" in answer.output
    assert (place.lstat().st_ino, place.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert other.read_text() == "mine"


def test_a_run_is_explained_in_a_few_lines(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", tasks={"rest": 2.0, "nback": 2.0})
    other = data.scans[1].bold.with_name("sub-01_task-rest_space-T1w_desc-preproc_bold.nii.gz")
    other.write_bytes(b"")
    out = tmp_path / "out"
    call = (data.root, out, "participant", "--explain")
    before = semantoks(*call, "task-rest")
    assert before.exit_code == 0
    assert not out.exists()
    lines = before.stdout.splitlines()
    assert lines[0] == "sub-01_task-rest: would be embedded"
    assert [line.split()[0] for line in lines[1:]] == [
        "files", "TR", "confounds", "space", "status",
    ]  # fmt: skip
    assert "2 s (sidecar); 120 frames, 4.0 min" in lines[2]
    assert f"{builders.SPACE} taken; {builders.SPACE} is that of the study (2 runs, " in lines[4]
    assert f"; {other.name} (space-T1w, not a template" in lines[4]
    assert lines[5].endswith("none yet")
    no_confounds(data.scans[0])
    semantoks(data.root, out)
    both = semantoks(*call, "sub-01").stdout
    assert "sub-01_task-nback: would fail: " in both
    assert "again" not in both
    assert "sub-01_task-rest: nothing to do: embedded earlier" in both
    assert "26 regressors" in both
    (failed,) = semantoks(*call, "task-nback").stdout.splitlines()[:1]
    assert failed.startswith("sub-01_task-nback: would fail: no desc-confounds")
    unknown = semantoks(*call, "sub-77")
    assert unknown.exit_code == 18
    assert "none of the 2 runs" in unknown.output


def test_what_failed_in_its_voxels_is_said_to_be_tried_again_with_why_it_failed(
    tmp_path, semantoks
) -> None:
    data = builders.make_dataset(tmp_path / "in")
    image = data.scans[0].bold
    image.write_bytes(image.read_bytes()[:-4000])
    call = (data.root, tmp_path / "out", "participant")
    assert semantoks(*call, "--no-reports").exit_code == 1
    said = semantoks(*call, "--explain", "task-rest").stdout.splitlines()[0]
    assert said.startswith("sub-01_task-rest: would be tried again: failed earlier (")
    assert "truncated" in said
    assert said.endswith("); its files have not changed since")
    image.touch()
    said = semantoks(*call, "--explain", "task-rest").stdout.splitlines()[0]
    assert said.endswith(f"; changed since: sub-01/func/{image.name} (time of change)")


def test_a_run_is_found_by_some_of_its_entities() -> None:
    rest, nback = "sub-1_ses-a_task-rest_run-1", "sub-1_ses-a_task-nback"
    runs = {
        run: [BoldFile(path=f"func/{run}_space-x_bold.nii.gz", run=run, space="x", reason=None)]
        for run in (rest, nback, rest.replace("sub-1", "sub-10"))
    }
    assert [*asked_runs("sub-1_task-rest", runs)] == [rest]
    assert [*asked_runs("sub-1_space-x", runs)] == [rest, nback]
    assert len(asked_runs("sub-1", runs)) == 2
    assert [*asked_runs("nbac", runs)] == [nback]
    assert not asked_runs("sub-1_task-movie", runs)


def test_the_dry_run_of_reports_alone_names_them(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in")
    call = (data.root, tmp_path / "out", "participant", "--reports-only", "--dry-run")
    assert semantoks(*call).exit_code == 16  # as the real run: there is nothing to report on
    semantoks(data.root, tmp_path / "out", "participant", "--no-reports")
    answer = semantoks(*call)
    assert (answer.exit_code, answer.stdout) == (0, "1 report would be written\n01\n")
    assert not list((tmp_path / "out").glob("*.html"))


def test_several_processes_tell_the_same(tmp_path, semantoks, monkeypatch) -> None:
    monkeypatch.setattr("bids_app.dry_run._SCANS_PER_PROCESS", 1)
    data = builders.make_dataset(tmp_path / "in", subjects=tuple("abc"))
    no_confounds(data.scans[1])
    call = (data.root, tmp_path / "out", "participant", "--dry-run", "--n-cpus")
    assert semantoks(*call, "2").stdout == semantoks(*call, "1").stdout


def test_the_space_of_the_study_is_told_kept_and_logged(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    out = tmp_path / "out"
    first = semantoks(data.root, out, "participant", "--participant-label", "01", "--no-reports")
    words = f"--space auto: all runs in space-{builders.SPACE} (2 runs, "
    assert words in first.stderr
    (log,) = out.glob("logs/*/config.toml")
    assert log.read_text().startswith(f"# {words}")
    second = semantoks(data.root, out, "participant", "--config-file", str(log), "--dry-run")
    assert "(as in the output folder)" in second.stderr
    assert second.exit_code == 0
