"""`semantoks slurm` with an ``sbatch`` of ours; tools/platforms/slurm.sh takes the real one."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import builders
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from bids_app.cli.app import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SBATCH = """#!/bin/bash
script=${@: -1}
echo "$*" >> {folder}/calls
tasks=$(sed -n 's/^#SBATCH --array=1-\\([0-9]*\\).*/\\1/p' "$script")
for task in $(seq "${tasks:-1}"); do
    export SLURM_ARRAY_TASK_ID=$task
    bash "$script" >> {folder}/log 2>&1 || echo "$task: $?" >> {folder}/failed
done
echo "17;cluster"
"""


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the ``sbatch``; ``calls``, ``log`` and ``failed`` tell what it did."""
    folder = tmp_path / "scheduler"
    folder.mkdir()
    (folder / "sbatch").write_text(SBATCH.replace("{folder}", str(folder)))
    (folder / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


@pytest.fixture
def slurm(atlas: Path, checkpoint: Path) -> Callable[..., Result]:
    def call(bids: Path, out: Path, *words: object, job: tuple[object, ...] = ()) -> Result:
        extra = ["--atlas", atlas, "--checkpoint", checkpoint, "--n-cpus", 1]
        words = ("slurm", *job, "--", bids, out, "participant", *extra, *words)
        return CliRunner().invoke(main, [str(word) for word in words])

    return call


def scripts(output: str) -> dict[str, str]:
    parts = output.split("\n==> ")[1:]
    return {part.split("\n")[0].rpartition("/")[2]: part.partition("\n")[2] for part in parts}


def test_a_dry_run_prints_scripts_that_bash_understands_and_writes_nothing(
    tmp_path, slurm
) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02", "03"))
    answer = slurm(
        data.root, tmp_path / "out", "--high-pass", "none", "--tsv",
        "--exclude-participant-label", "02", "-t", "rest", "nback",
        job=("--dry-run", "--participants-per-task", 2, "--at-a-time", 5,
             "--sbatch-args", "-A me --partition=long"),
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output
    found = scripts(answer.output)
    assert found["participants.txt"].split() == ["01", "03"]
    assert "#SBATCH --array=1-1%5\n" in found["array.sh"]
    assert "#SBATCH -A me --partition=long\n" in found["array.sh"]
    assert (
        " --high-pass none --exclude-participant-label 02 -t rest nback"
        f" --space {builders.SPACE} --mem " in found["array.sh"]
    )
    assert " --participant-label $labels &" in found["array.sh"]
    assert found["group.sh"].rstrip().endswith(" group --tsv")
    for name in ("array.sh", "group.sh"):
        subprocess.run(["bash", "-n"], input=found[name], text=True, check=True)
    assert not (tmp_path / "out").exists()


def test_a_container_sees_the_files_that_options_name(tmp_path, slurm, atlas, checkpoint) -> None:
    data = builders.make_dataset(tmp_path / "in")
    job = ("--dry-run", "--no-group", "--image", checkpoint / "card.json")
    answer = slurm(data.root, tmp_path / "out", job=job)
    (line,) = (x for x in scripts(answer.output)["array.sh"].splitlines() if "apptainer" in x)
    for path in (data.root, atlas, checkpoint):
        assert f"-B {path}:{path}:ro" in line
    assert f"-B {tmp_path / 'out'}:{tmp_path / 'out'} " in line
    assert "group.sh" not in answer.output


def test_an_installed_checkpoint_is_named_by_its_place(
    tmp_path, atlas, checkpoint, monkeypatch
) -> None:
    """A container has another home; what it does not see it cannot use."""
    data = builders.make_dataset(tmp_path / "in")
    place = tmp_path / "home/checkpoints/published"
    shutil.copytree(checkpoint, place)
    monkeypatch.setenv("SEMANTOKS_HOME", str(tmp_path / "home"))
    words = ["slurm", "--dry-run", "--no-group", "--image", checkpoint / "card.json", "--"]
    words += [data.root, tmp_path / "out", "participant", "--checkpoint", "published"]
    answer = CliRunner().invoke(main, [str(word) for word in [*words, "--atlas", atlas]])
    assert answer.exit_code == 0, answer.output
    script = scripts(answer.output)["array.sh"]
    assert f"-B {place}:{place}:ro" in script
    assert f" --checkpoint {place} " in script
    assert "--checkpoint published" not in script


def test_a_gpu_is_the_nodes_and_is_handed_to_a_container(tmp_path, slurm, checkpoint) -> None:
    data = builders.make_dataset(tmp_path / "in")
    job = ("--dry-run", "--no-group", "--image", checkpoint / "card.json")
    answer = slurm(data.root, tmp_path / "out", "--device", "cuda:31", job=job)
    assert answer.exit_code == 0, answer.output
    script = scripts(answer.output)["array.sh"]
    assert "apptainer run --cleanenv --nv -B " in script
    assert " --device cuda:31 " in script
    assert slurm(data.root, tmp_path / "out", "--device", "gpu", job=job).exit_code == 2


def test_what_failed_is_submitted_again_and_nothing_else(tmp_path, slurm, scheduler) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    out = tmp_path / "out"
    table = data.scans[0].confounds.read_bytes()
    data.scans[0].confounds.unlink()
    answer = slurm(data.root, out)
    assert answer.exit_code == 0, answer.output
    assert "2 participants have scans to do" in answer.output
    assert "--dependency=afterok:17 --kill-on-invalid-dep=yes" in (scheduler / "calls").read_text()
    assert not (scheduler / "failed").exists(), (scheduler / "log").read_text()
    assert list(group_status(out)) == ["failed", "embedded"]
    data.scans[0].confounds.write_bytes(table)
    assert "1 participants have scans to do" in slurm(data.root, out).output
    assert list(group_status(out)) == ["embedded", "embedded"]
    answer = slurm(data.root, out, job=("--no-group",))
    assert "0 participants have scans to do" in answer.output
    assert len((scheduler / "calls").read_text().splitlines()) == 4


def group_status(out: Path) -> pd.Series:
    return pd.read_csv(out / "group_status.tsv", sep="\t")["status"]


def test_without_a_scheduler_nothing_is_written(tmp_path, slurm, monkeypatch) -> None:
    data = builders.make_dataset(tmp_path / "in")
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = slurm(data.root, tmp_path / "out")
    assert answer.exit_code == 78
    assert "no sbatch" in answer.output
    assert not (tmp_path / "out").exists()


def test_a_refusal_is_told_in_the_schedulers_words(tmp_path, slurm, scheduler) -> None:
    data = builders.make_dataset(tmp_path / "in")
    (scheduler / "sbatch").write_text("#!/bin/sh\necho 'invalid account' >&2; exit 1\n")
    answer = slurm(data.root, tmp_path / "out")
    assert answer.exit_code == 78
    assert "invalid account" in answer.output


def test_a_misspelt_participant_is_refused_before_anything_is_submitted(
    tmp_path, slurm, scheduler
) -> None:
    data = builders.make_dataset(tmp_path / "in")
    assert slurm(data.root, tmp_path / "out", "--participant-label", "1").exit_code == 2
    assert not (scheduler / "calls").exists()


def test_participants_that_are_chosen_are_each_in_one_task_only(tmp_path, slurm) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02", "03"))
    words = ("--participant_label", "01", "sub-03", "--mem", "3G")
    job = ("--dry-run", "--participants-per-task", 1)
    found = scripts(slurm(data.root, tmp_path / "out", *words, job=job).output)
    assert found["participants.txt"].split() == ["01", "03"]
    assert "#SBATCH --array=1-2\n" in found["array.sh"]
    assert "#SBATCH --mem=3072M\n" in found["array.sh"]
    assert f" --mem 3G --space {builders.SPACE} --participant-label $labels &" in found["array.sh"]


@pytest.mark.parametrize(
    "words", [("group",), ("participant", "--dry-run"), ("participant", "--reports-only")]
)
def test_what_no_task_can_do_is_a_usage_error(tmp_path, words) -> None:
    data = builders.make_dataset(tmp_path / "in")
    call = ["slurm", "--dry-run", str(data.root), str(tmp_path / "out"), *words]
    assert CliRunner().invoke(main, call).exit_code == 2
