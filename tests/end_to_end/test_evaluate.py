"""`semantoks-model evaluate` on tables and on output folders."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from bids_app.cli.series import main as series_command
from model.cli.app import main
from model.networks import parcel_names

if TYPE_CHECKING:
    from pathlib import Path

FEATURES = ("--features", "dim_[0-9]+")
FAST = ("--n-resamples", "100")


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, words), *FAST])


def cohort(n=12, dim=30, *, noise=0.5, seed=0, subjects=None) -> pd.DataFrame:
    """Rows of two sessions; labels look like numbers."""
    rng = np.random.default_rng(0)
    own = rng.normal(size=(n, dim))
    values = np.concatenate(
        [own + noise * np.random.default_rng((seed, s)).normal(size=own.shape) for s in (1, 2)]
    )
    labels = subjects or [f"{i:03d}" for i in range(n)]
    keys = {"participant_id": labels * 2, "session_id": ["01"] * n + ["02"] * n}
    columns = [f"dim_{i}" for i in range(dim)]
    return pd.concat([pd.DataFrame(keys), pd.DataFrame(values, columns=columns)], axis=1)


def without_the_vector_of_row_5(table: pd.DataFrame) -> pd.DataFrame:
    table.loc[5, table.columns.str.startswith("dim_")] = np.nan
    return table


def write(table: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, sep={".tsv": "\t", ".csv": ","}[path.suffix], index=False, na_rep="n/a")
    return path


def results(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "evaluation.tsv", sep="\t", na_values="n/a", keep_default_na=False)


def value(found: pd.DataFrame, **wanted: str) -> float:
    chosen = found[np.all([found[k] == v for k, v in wanted.items()], axis=0)]
    return chosen[chosen["minus"].isna()]["value"].item()


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".parquet"])
def test_any_table_with_subjects_and_sessions_is_evaluated(tmp_path, suffix) -> None:
    source = write(cohort(noise=0.01), tmp_path / f"table{suffix}")
    answer = call(source, tmp_path / "out", *FEATURES)
    assert answer.exit_code == 0, answer.output
    assert "| features | 100.0 [100, 100] |" in answer.stdout
    found = results(tmp_path / "out")
    assert value(found, measure="identification", scaling="raw") == 100
    chance = found.loc[found["measure"] == "identification", "chance"]
    assert chance.to_numpy() == pytest.approx(100 / 12, rel=1e-5)
    assert value(found, measure="icc_mean") > 0.99
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert len(content["findings"]) == len(found)
    assert (tmp_path / "out" / "evaluation.png").read_bytes()[:4] == b"\x89PNG"


def test_a_label_that_looks_like_a_number_is_chosen_as_it_is_written(tmp_path) -> None:
    table = pd.concat([cohort(seed=1).assign(run_id="01"), cohort(seed=2).assign(run_id="02")])
    source = write(table, tmp_path / "table.tsv")
    answer = call(source, tmp_path / "out", *FEATURES, "--where", "run_id=01")
    assert answer.exit_code == 0, answer.output
    assert value(results(tmp_path / "out"), measure="rankme") > 1


def test_two_subjects_have_numbers_without_an_interval_of_reliability(tmp_path) -> None:
    source = write(cohort(n=2), tmp_path / "table.tsv")
    answer = call(source, tmp_path / "out", *FEATURES)
    assert answer.exit_code == 0, answer.output
    found = results(tmp_path / "out").set_index("measure")
    assert np.isnan(found.loc["icc_mean", "low"])
    assert found.loc["icc_mean", "value"] > 0


def test_an_interval_does_not_leave_what_a_measure_can_be(tmp_path) -> None:
    source = write(cohort(n=5, dim=3), tmp_path / "table.tsv")
    assert call(source, tmp_path / "out", *FEATURES).exit_code == 0
    found = results(tmp_path / "out").set_index("measure").loc["icc_above_0.4"]
    assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1


def test_two_sets_of_embeddings_are_compared_subject_by_subject(tmp_path) -> None:
    good = write(cohort(noise=0.2), tmp_path / "good.tsv")
    bad = write(cohort(noise=6.0, seed=1).iloc[:-1], tmp_path / "bad.tsv")
    answer = call(good, tmp_path / "out", *FEATURES, "--against", bad)
    assert answer.exit_code == 0, answer.output
    assert "1 scans are not in" in answer.stderr
    assert "1 subject(s) with one session take no part: 011" in answer.stderr
    found = results(tmp_path / "out")
    paired = found[found["minus"] == "bad: features"]
    chosen = paired[(paired["measure"] == "identification") & (paired["scaling"] == "raw")]
    assert chosen["name"].tolist() == ["features"]
    assert chosen["value"].item() > 50
    assert 0 < chosen["low"].item() < chosen["high"].item()
    assert (found["n_subjects"] == 11).any()


def test_a_pipeline_column_gives_comparisons_within_and_across(tmp_path) -> None:
    both = pd.concat([cohort().assign(gsr="with"), cohort(seed=3).assign(gsr="without")])
    source = write(both, tmp_path / "table.tsv")
    answer = call(source, tmp_path / "out", *FEATURES, "--pipeline-column", "gsr")
    assert answer.exit_code == 0, answer.output
    assert set(results(tmp_path / "out")["comparison"]) == {"within", "across", "all"}
    again = [write(t, tmp_path / f"{n}.tsv") for n, t in (("a", cohort()), ("b", cohort(seed=3)))]
    answer = call(again[0], tmp_path / "again", *FEATURES, "--across", again[1])
    assert answer.exit_code == 0, answer.output
    first, second = (results(tmp_path / name) for name in ("out", "again"))
    pd.testing.assert_series_equal(first["value"], second["value"])


def test_rows_of_windows_are_compared_one_by_one(tmp_path) -> None:
    windows = pd.concat([cohort(seed=s).assign(window=s) for s in (1, 2, 3)])
    source = write(windows, tmp_path / "table.tsv")
    answer = call(source, tmp_path / "out", *FEATURES, "--window-column", "window")
    assert answer.exit_code == 0, answer.output
    found = results(tmp_path / "out")
    assert set(found["level"]) == {"window"}
    assert "lidar" in set(found["measure"])


def test_columns_that_some_rows_lack_are_left_out_of_all_and_told(tmp_path) -> None:
    table = cohort()
    table.loc[3, "dim_7"] = np.nan
    answer = call(write(table, tmp_path / "table.tsv"), tmp_path / "out", *FEATURES)
    assert answer.exit_code == 0, answer.output
    assert "1 of 30 columns (dim)" in answer.stderr


def test_copied_vectors_are_counted(tmp_path) -> None:
    table = cohort()
    table.iloc[4, 2:] = table.iloc[5, 2:]
    answer = call(write(table, tmp_path / "table.tsv"), tmp_path / "out", *FEATURES)
    assert "1 scan(s) have exactly the vector of another one" in answer.stderr


def test_motion_and_site_that_the_vectors_hold_are_told(tmp_path) -> None:
    table = cohort(n=40)
    table["site"] = np.where(table["dim_0"] > 0, "here", "there")
    table["mean_fd"] = table["dim_1"] / 10 + 1
    words = ("--motion-column", "mean_fd", "--site-column", "site")
    answer = call(write(table, tmp_path / "table.tsv"), tmp_path / "out", *FEATURES, *words)
    assert answer.exit_code == 0, answer.output
    found = results(tmp_path / "out")
    assert value(found, measure="motion_r2") > 0.3
    assert value(found, measure="site_accuracy") > 70


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (lambda t: t.drop(columns="session_id"), FEATURES, "no column session_id"),
        (lambda t: t[t["session_id"] == "01"], FEATURES, "two sessions"),
        (lambda t: pd.concat([t, t.iloc[:2]]), FEATURES, "more than one row: 000 01; 001 01"),
        (lambda t: t, (), "no embedding of semantoks"),
        (lambda t: t, ("--features", "x.*"), "no column's name fits"),
        (lambda t: t, ("--features", "[ps].*"), "hold text: participant_id, session_id"),
        (lambda t: t, (*FEATURES, "--where", "session_id=03"), "session_id: 01, 02"),
        (lambda t: t[:0], FEATURES, "holds no rows"),
        (lambda t: t[["dim_0"]], FEATURES, "divided by tabs"),
        (lambda t: t, ("--features", "["), "not a regular expression"),
        (without_the_vector_of_row_5, FEATURES, "1 of 24 rows have no vector"),
        (lambda t: t, (*FEATURES, "--where", "session_id"), "expected COLUMN=VALUE"),
        (lambda t: t.assign(dim_0=np.nan), ("--features", "dim_0"), "24 of 24 rows have"),
        (lambda t: t.replace("004", None), FEATURES, "has no subject"),
        (lambda t: t, (*FEATURES, "--site-column", "site"), "no column site"),
        (lambda t: t, (*FEATURES, "--window-column", "session_id"), "number of a window"),
        (lambda t: t, (*FEATURES, "--random-weights"), "need the series"),
        (lambda t: t, (*FEATURES, "--robustness"), "need the series"),
        (lambda t: t, (*FEATURES, "--checkpoint", "."), "--random-weights, --robustness"),
    ],
)
def test_a_table_that_cannot_be_evaluated_is_one_clear_error(
    tmp_path, change, words, message
) -> None:
    source = write(change(cohort()), tmp_path / "table.tsv")
    answer = call(source, tmp_path / "out", *words)
    assert answer.exit_code in (1, 2)
    assert message in answer.stderr
    assert "Traceback" not in answer.output
    assert not (tmp_path / "out").exists()


def test_a_damaged_table_and_a_folder_of_other_things_are_refused(tmp_path) -> None:
    (tmp_path / "table.parquet").write_bytes(b"nonsense")
    assert "not a readable table" in call(tmp_path / "table.parquet", tmp_path / "o").stderr
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").touch()
    source = write(cohort(), tmp_path / "table.tsv")
    assert "other things" in call(source, tmp_path / "thesis", *FEATURES).stderr
    assert "no embedded run" in call(tmp_path / "thesis", tmp_path / "out").stderr


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, checkpoint: Path) -> Path:
    """Output folder of four subjects with two sessions each, by the tiny checkpoint."""
    folder = tmp_path_factory.mktemp("series")
    for subject in range(4):
        mixing = np.random.default_rng(subject).normal(size=(400, 400)) / 20
        for session in (1, 2):
            noise = np.random.default_rng((subject, session)).normal(size=(160, 400))
            table = pd.DataFrame(noise + noise @ mixing, columns=list(parcel_names())[:400])
            name = f"sub-{subject:02d}_ses-{session}_task-rest_timeseries.tsv"
            table.to_csv(folder / name, sep="\t", index=False, float_format="%.4f")
    words = [*map(str, sorted(folder.glob("*.tsv"))), str(folder / "out"), "--tr", "2"]
    done = CliRunner().invoke(series_command, [*words, "--checkpoint", str(checkpoint)])
    assert done.exit_code == 0, done.output
    return folder / "out"


def test_an_output_folder_stands_beside_connectivity_and_random_weights(
    tmp_path, outputs, checkpoint
) -> None:
    answer = call(outputs, tmp_path / "out", "--checkpoint", checkpoint, "--random-weights",
                  "--where", "task_id=rest")  # fmt: skip
    assert answer.exit_code == 0, answer.output
    found = results(tmp_path / "out")
    names = set(found["name"])
    assert {"networks", "mean + cls", "cls", "FC within networks", "FC tangent"} <= names
    assert {"random weights, networks", "random weights, cls"} <= names
    assert not any("seed" in name for name in names)
    assert set(found["level"]) == {"scan", "window"}
    kind = {"level": "scan", "measure": "identification"}
    assert value(found, name="FC tangent", scaling="standardised", **kind) == 100
    baselines = set(found["minus"].dropna())
    assert {"FC Pearson", "random weights, networks"} <= baselines


def test_windows_of_connectivity_hold_the_samples_that_were_embedded(outputs) -> None:
    from model.cohort.outputs import embedded_scans, model_series
    from model.evaluation.baselines import window_samples

    run = embedded_scans(outputs)[0]
    found = window_samples(run, model_series(run))
    assert [(s.start, s.stop) for s in found] == [(0, 100), (30, 130), (60, 160)]


def test_weights_that_did_not_make_the_outputs_are_refused(tmp_path, outputs) -> None:
    answer = call(outputs, tmp_path / "out", "--random-weights")
    assert answer.exit_code == 1
    assert "embedded by weights" in answer.stderr


def test_robustness_of_an_output_folder_has_a_row_per_perturbation(
    tmp_path, outputs, checkpoint, monkeypatch
) -> None:
    from model.evaluation import perturbations

    kept = perturbations.conditions()
    chosen = [c for c in kept if c.name in ("gain and offset per scan", "white noise, SNR 0.5")]
    chosen += [c for c in kept if c.name == "first 400 s"]  # longer than these scans
    monkeypatch.setattr(perturbations, "conditions", lambda: chosen)
    words = ("--checkpoint", checkpoint, "--robustness", "--no-connectivity")
    answer = call(outputs, tmp_path / "out", *words)
    assert answer.exit_code == 0, answer.output
    table = pd.read_csv(tmp_path / "out" / "robustness.tsv", sep="\t").set_index("name")
    assert list(table.index) == [
        "unperturbed",
        "gain and offset per scan",
        "white noise, SNR 0.5",
    ]
    assert table.loc["unperturbed", "cosine"] == 1
    assert table.loc["gain and offset per scan", "cosine"] > 0.999
    noisy = table.loc["white noise, SNR 0.5"]
    assert noisy["centred"] < 0.9
    assert noisy["cosine_low"] <= noisy["cosine"] <= noisy["cosine_high"]
    assert (tmp_path / "out" / "robustness.png").stat().st_size > 1000


def perturbed() -> pd.DataFrame:
    noise = {"none": 0.0, "noise 1": 1.0, "noise 2": 2.0}
    tables = []
    for seed, (name, sd) in enumerate(noise.items()):
        table = cohort().assign(condition=name)
        features = table.filter(like="dim_")
        table[features.columns] += sd * np.random.default_rng(seed).normal(size=features.shape)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


CONDITIONS = ("--condition-column", "condition", "--reference", "none")


def test_a_table_of_perturbed_scans_has_curves_beside_the_scans_as_they_are(tmp_path) -> None:
    source = write(perturbed(), tmp_path / "table.tsv")
    answer = call(source, tmp_path / "out", *FEATURES, *CONDITIONS)
    assert answer.exit_code == 0, answer.output
    plain = write(cohort(), tmp_path / "plain.tsv")
    assert call(plain, tmp_path / "plain", *FEATURES).exit_code == 0
    pd.testing.assert_frame_equal(results(tmp_path / "out"), results(tmp_path / "plain"))
    table = pd.read_csv(tmp_path / "out" / "robustness.tsv", sep="\t").set_index("name")
    assert list(table.index) == ["none", "noise 1", "noise 2"]
    assert table["cosine"].is_monotonic_decreasing
    assert table.loc["none", "cosine"] == 1
    assert (tmp_path / "out" / "robustness.png").stat().st_size > 1000
    assert call(plain, tmp_path / "out", *FEATURES).exit_code == 0
    assert not (tmp_path / "out" / "robustness.tsv").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (CONDITIONS[:2], "belong together"),
        (CONDITIONS[2:], "belong together"),
        ((*CONDITIONS, "--pipeline-column", "condition"), "by one pipeline"),
        ((*CONDITIONS[:3], "clean"), "condition: none, noise 1, noise 2"),
        (CONDITIONS, "expected the scans of none, one has 011 02"),
    ],
)
def test_perturbed_scans_that_cannot_be_compared_are_refused(tmp_path, words, message) -> None:
    source = write(perturbed()[:-1], tmp_path / "table.tsv")
    answer = call(source, tmp_path / "out", *FEATURES, *words)
    assert answer.exit_code == 1
    assert message in answer.stderr
    assert not (tmp_path / "out").exists()


def test_outputs_with_a_damaged_file_are_named(tmp_path, outputs) -> None:
    import shutil

    shutil.copytree(outputs, tmp_path / "copy")
    path = sorted((tmp_path / "copy").rglob("*_desc-model_timeseries.tsv"))[0]
    path.write_text("nonsense\n")
    answer = call(tmp_path / "copy", tmp_path / "out")
    assert answer.exit_code == 1
    assert path.name in answer.stderr
