import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bids_app.atlas.volumes import load_volume_atlas
from bids_app.cli.demo import main as command
from bids_app.demo import recovery as demo
from bids_app.demo.phantom import random_for
from bids_app.inputs.entities import Entities


@pytest.fixture
def small(monkeypatch):
    """Two scans on a coarse grid instead of the real example."""
    monkeypatch.setattr(demo, "RUNS", (("01", "1", "rest", 60, 2.0), ("02", "1", "rest", 60, 2.0)))
    monkeypatch.setattr(demo, "VOXEL_MM", 8.0)


@pytest.fixture
def app(monkeypatch):
    """Stand in for the app: writes `change` of the truth as if it had been extracted."""

    class App:
        def __init__(self):
            self.calls = []
            self.exit_code = 0

        def change(self, truth):
            return truth

        def __call__(self, arguments, *, standalone_mode):
            assert not standalone_mode
            self.calls.append(arguments)
            _, output, level = arguments[:3]
            if level == "participant":
                self.write(Path(output).parent)
            return self.exit_code

        def write(self, out):
            for sub, ses, task, *_ in demo.RUNS:
                scan = Entities(sub=sub, ses=ses, task=task, space=demo.SPACE)
                truth = pd.read_csv(demo.truth_path(out, scan), sep="\t")
                stem = scan.stem(atlas="Semantoks457", desc="denoised")
                folder = out / "semantoks" / f"sub-{sub}" / f"ses-{ses}" / "func"
                folder.mkdir(parents=True)
                table = self.change(truth.iloc[2:])
                table.to_csv(folder / f"{stem}_timeseries.tsv", sep="\t", index=False)
                sidecar = {"NumberOfVolumes": {"Dropped": 2}}
                (folder / f"{stem}_timeseries.json").write_text(json.dumps(sidecar))

    stand_in = App()
    monkeypatch.setattr("bids_app.cli.demo.semantoks", stand_in)
    return stand_in


def run(out):
    return CliRunner().invoke(command, [str(out)])


@pytest.mark.usefixtures("small")
def test_a_perfect_app_passes_and_is_run_at_both_levels_with_the_synthetic_atlas(tmp_path, app):
    result = run(tmp_path / "out")
    assert result.exit_code == 0, result.output
    participant, group = app.calls
    out = tmp_path / "out"
    assert participant == [
        str(out / "fmriprep"),
        str(out / "semantoks"),
        "participant",
        "--atlas",
        str(out / "atlas"),
    ]
    assert group[2] == "group"
    assert "100.0%" in result.output
    assert str(out / "semantoks") in result.output


@pytest.mark.usefixtures("small")
def test_series_that_are_not_the_truth_end_in_exit_code_1(tmp_path, app):
    app.change = lambda truth: truth.iloc[::-1]
    result = run(tmp_path / "out")
    assert result.exit_code == 1
    assert result.output.count("TOO LOW") == 2


@pytest.mark.usefixtures("small")
def test_one_missing_parcel_ends_in_exit_code_1(tmp_path, app):
    app.change = lambda truth: truth.assign(**{truth.columns[5]: "n/a"})
    assert run(tmp_path / "out").exit_code == 1


@pytest.mark.usefixtures("small")
def test_the_apps_exit_code_is_the_demos(tmp_path, app):
    app.exit_code = 78
    result = run(tmp_path / "out")
    assert result.exit_code == 78
    assert len(app.calls) == 1


@pytest.mark.usefixtures("small")
def test_the_example_holds_scans_atlas_and_truth(tmp_path):
    scans = demo.write_example(tmp_path)
    assert len(list(tmp_path.glob("fmriprep/sub-*/ses-*/func/*_desc-preproc_bold.nii.gz"))) == 2
    assert all(demo.truth_path(tmp_path, scan).exists() for scan in scans)
    (image,) = tmp_path.glob("atlas/tpl-*/*_dseg.nii.gz")
    assert load_volume_atlas(image).space == demo.SPACE


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "not empty" in result.output
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_as_out_is_a_usage_error(tmp_path):
    (tmp_path / "file").write_text("")
    assert run(tmp_path / "file").exit_code == 2


@pytest.mark.usefixtures("small")
def test_an_unwritable_place_is_one_clear_line(tmp_path, monkeypatch):
    from bids_app.errors import OutputError

    def refuse(*_args, **_kwargs):
        raise OutputError("cannot be written (disk full).")

    monkeypatch.setattr("bids_app.demo.tree.write_bytes", refuse)
    result = run(tmp_path / "out")
    assert result.exit_code == OutputError.exit_code
    assert "error: cannot be written (disk full)." in result.output


class TestCompare:
    @pytest.fixture
    def truth(self):
        return random_for("truth").standard_normal((200, 457))

    def test_scale_and_offset_do_not_matter(self, truth):
        recovery = demo.compare("scan", 3 * truth + 100, truth)
        assert recovery.minimum == pytest.approx(1)
        assert recovery.identified == 1
        assert recovery.good

    def test_two_swapped_parcels_are_seen(self, truth):
        swapped = truth.copy()
        swapped[:, [3, 4]] = truth[:, [4, 3]]
        recovery = demo.compare("scan", swapped, truth)
        assert recovery.identified == pytest.approx(455 / 457)
        assert not recovery.good

    def test_one_sample_of_delay_is_not_good(self, truth):
        assert not demo.compare("scan", np.roll(truth, 1, axis=0), truth).good

    def test_a_constant_parcel_is_not_good(self, truth):
        series = truth.copy()
        series[:, 7] = np.nan
        assert not demo.compare("scan", series, truth).good


def test_it_ends_by_naming_the_pages_to_open(tmp_path) -> None:
    *_, first, second = demo.report(tmp_path, []).splitlines()
    assert first.split()[0] == str(tmp_path / "semantoks" / "sub-01.html")
    assert second.split()[0] == str(tmp_path / "semantoks" / "group.html")
