"""`semantoks slurm` with an ``sbatch`` of ours; tools/platforms/slurm.sh takes the real one."""

from __future__ import annotations

import csv
import shlex
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import builders
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from bids_app.cli.app import main

if TYPE_CHECKING:
    from collections.abc import Callable

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


@pytest.fixture
def image(checkpoint: Path) -> tuple[object, ...]:
    """Words for a dry run with an image; nothing looks into it."""
    return ("--dry-run", "--image", checkpoint / "card.json")


def started(output: str, name: str = "array.sh") -> list[str]:
    """Return the words that start the container."""
    (line,) = (x for x in scripts(output)[name].splitlines() if x.startswith("apptainer run"))
    return shlex.split(line)


def mounts(output: str, name: str = "array.sh") -> dict[str, bool]:
    """Return what is mounted at its own place, in order, and whether it can be written."""
    words = started(output, name)
    given = [value for flag, value in pairwise(words) if flag == "--mount"]
    rows = list(csv.reader(given))
    assert all(Path(source[7:]).is_absolute() for _, source, *_ in rows)
    assert all(f"destination={source[7:]}" == there for _, source, there, *_ in rows)
    return {row[1].removeprefix("source="): row[3:] != ["ro"] for row in rows}


def test_a_container_sees_the_files_that_options_name_and_no_more(
    tmp_path, slurm, image, atlas, checkpoint
) -> None:
    data = builders.make_dataset(tmp_path / "in")
    answer = slurm(data.root, tmp_path / "out", job=(*image, "--no-group"))
    seen = dict.fromkeys([str(atlas), str(checkpoint), str(data.root)], False)
    assert mounts(answer.output) == seen | {str(tmp_path / "out"): True}
    words = started(answer.output)
    assert words[:4] == ["apptainer", "run", "--cleanenv", "--containall"]
    assert "--pwd" not in words
    assert "group.sh" not in answer.output


def test_paths_from_the_folder_of_the_submission_lead_to_the_same_in_a_container(
    tmp_path, slurm, image, atlas, monkeypatch
) -> None:
    (tmp_path / "storage").mkdir()
    builders.make_dataset(tmp_path / "storage/in")
    (tmp_path / "study").mkdir()
    (tmp_path / "study/in").symlink_to(tmp_path / "storage/in")
    monkeypatch.chdir(tmp_path / "study")
    shutil.copytree(atlas, tmp_path / "study/atlas")
    answer = slurm("in", "../out", "--atlas", "atlas", job=image)
    assert answer.exit_code == 0, answer.output
    words = started(answer.output)
    assert words[words.index("--pwd") + 1] == str(tmp_path / "study")
    found = mounts(answer.output)
    writable = {path for path, yes in found.items() if yes}
    assert {str(Path(path).resolve()) for path in writable} == {str(tmp_path / "out")}
    assert {str(tmp_path / p) for p in ("study", "study/in", "storage/in")} <= set(found)


def test_the_output_is_mounted_after_the_folder_it_lies_in(tmp_path, slurm, image) -> None:
    builders.make_dataset(tmp_path / "in/derivatives/fmriprep")
    out = tmp_path / "in/derivatives/semantoks"
    found = mounts(slurm(tmp_path / "in", out, job=image).output)
    assert list(found).index(str(tmp_path / "in")) < list(found).index(str(out))
    assert found[str(out)]
    assert not found[str(tmp_path / "in")]


def test_a_container_finds_a_folder_of_any_name(tmp_path, slurm, image) -> None:
    name = "a b,c:d=e\"f'g\\$(h)ä"
    data = builders.make_dataset(tmp_path / name / "in")
    answer = slurm(data.root, tmp_path / name / "out", job=image)
    for script in ("array.sh", "group.sh"):
        assert mounts(answer.output, script)[str(data.root)] is False
        assert mounts(answer.output, script)[str(tmp_path / name / "out")]
        assert str(data.root) in started(answer.output, script)


def test_a_container_sees_what_a_file_of_options_names_and_that_of_the_group_step(
    tmp_path, image, atlas, checkpoint
) -> None:
    data = builders.make_dataset(tmp_path / "in")
    table = tmp_path / "participants.tsv"
    table.write_text("participant_id\nsub-01\n")
    options = tmp_path / "options.toml"
    options.write_text(f'atlas = "{atlas}"\ncheckpoint = "{checkpoint}"\n')
    words = ["slurm", *image, "--", data.root, tmp_path / "out", "participant"]
    words += [f"--config-file={options}", "--participants", table]
    answer = CliRunner().invoke(main, [str(word) for word in words])
    assert answer.exit_code == 0, answer.output
    for script in ("array.sh", "group.sh"):
        found = mounts(answer.output, script)
        assert {str(p) for p in (options, atlas, checkpoint, table)} <= set(found)


def test_the_atlas_installed_here_is_that_of_a_container_too(
    tmp_path, image, atlas, checkpoint, monkeypatch
) -> None:
    data = builders.make_dataset(tmp_path / "in")
    home = tmp_path / "home"
    shutil.copytree(atlas, home / "atlas")
    words = ["slurm", *image, "--", data.root, tmp_path / "out", "participant"]
    words += ["--checkpoint", checkpoint]
    for place, expected in ((home, True), (tmp_path / "none", False)):
        monkeypatch.setenv("SEMANTOKS_HOME", str(place))
        answer = CliRunner().invoke(main, [str(word) for word in words])
        assert answer.exit_code == 0, answer.output
        assert (f" --atlas {place / 'atlas'} " in answer.output) is expected
        assert (str(place / "atlas") in mounts(answer.output)) is expected


def test_an_image_is_looked_for_before_anything_is_submitted(tmp_path, slurm, monkeypatch) -> None:
    data = builders.make_dataset(tmp_path / "in")
    answer = slurm(data.root, tmp_path / "out", job=("--dry-run", "--image", "no.sif"))
    assert answer.exit_code == 2
    assert "no.sif" in answer.output
    (tmp_path / "one.sif").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    answer = slurm(data.root, tmp_path / "out", job=("--dry-run", "--image", "one.sif"))
    assert str(tmp_path / "one.sif") in started(answer.output)


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
    assert str(place) in mounts(answer.output)
    assert f" --checkpoint {place} " in script
    assert "--checkpoint published" not in script


def test_a_gpu_is_the_nodes_and_is_handed_to_a_container(tmp_path, slurm, checkpoint) -> None:
    data = builders.make_dataset(tmp_path / "in")
    job = ("--dry-run", "--no-group", "--image", checkpoint / "card.json")
    answer = slurm(data.root, tmp_path / "out", "--device", "cuda:31", job=job)
    assert answer.exit_code == 0, answer.output
    script = scripts(answer.output)["array.sh"]
    assert "--nv" in started(answer.output)
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
    assert (
        "2 participants with 2 scans; 1 participant has scans to do"
        in slurm(data.root, out).output
    )
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
