"""Scores of several encoders are averaged in each split, and only if they answer one question."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from model.cli.app import main
from model.comparison.average import average
from model.errors import ConfigError
from model.probing.samples import ProbeError

SPLITS = [
    {"name": f"seed {i}", "n_train": 12, "n_validation": 4, "n_test": 4, "sha256": f"s{i}"}
    for i in range(3)
]


def write(folder, weights, scores, **changed):
    """Write results of a probe: ``scores`` by method, one number a split; None: failed."""
    rows = []
    for method, found in scores.items():
        for split, score in zip(SPLITS, found, strict=True):
            row = {"method": method, "split": split["name"], "status": "failed"}
            if score is not None:
                row |= {"status": "ok", "scores": {"balanced_accuracy": score, "auc": score / 2}}
            rows.append(row)
    content = {
        "config": {"target": "sex", "task": "classification", "methods": list(scores)},
        "splits": SPLITS,
        "labels_sha256": "l",
        "answers": dict.fromkeys(scores, 12),
        "checkpoint": {"WeightsSHA256": weights},
        "rows": rows,
        "permuted": {"probe": [0.5]},
    }
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(content | changed))
    return folder


@pytest.fixture
def three(tmp_path):
    return [
        write(
            tmp_path / f"seed-{i}",
            f"w{i}",
            {"probe": [0.6 + 0.1 * i, 0.7, 0.8], "fc-svm": [0.5, 0.6, 0.7]},
        )
        for i in range(3)
    ]


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def test_each_split_has_the_mean_of_the_encoders(three, tmp_path):
    text = average(three, tmp_path / "out")
    found = results_of(tmp_path / "out")
    scores = {(r["method"], r["split"]): r["scores"] for r in found["rows"]}
    assert scores["probe", "seed 0"]["balanced_accuracy"] == pytest.approx(0.7)
    assert scores["probe", "seed 0"]["auc"] == pytest.approx(0.35)
    assert found["summary"]["probe"]["balanced_accuracy"]["mean"] == pytest.approx(2.2 / 3)
    assert found["sd_over_encoders"]["probe"] == pytest.approx(0.1 / 3)
    assert found["sd_over_encoders"]["fc-svm"] == 0
    apart = found["probe_minus_method"]["fc-svm"]["balanced_accuracy"]["mean"]
    assert apart == pytest.approx(0.4 / 3)
    assert [each["checkpoint"]["WeightsSHA256"] for each in found["averaged_over"]] == [
        "w0",
        "w1",
        "w2",
    ]
    assert "permuted" not in found
    assert "probe" in text
    assert len((tmp_path / "out/results.tsv").read_text().splitlines()) == 7


def test_a_split_that_one_encoder_has_no_score_of_is_left_out_and_told(three, tmp_path):
    lacking = write(tmp_path / "x", "wx", {"probe": [None, 0.7, 0.8], "fc-svm": [0.5, 0.6, 0.7]})
    average([three[0], lacking], tmp_path / "out")
    found = results_of(tmp_path / "out")
    (skipped,) = [row for row in found["rows"] if row["status"] == "skipped"]
    assert skipped["reason"] == "scored for 1 of 2 encoders"
    assert found["summary"]["probe"]["balanced_accuracy"]["n"] == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels_sha256": "other"}, "differ in labels"),
        ({"splits": [SPLITS[0], SPLITS[1], SPLITS[2] | {"sha256": "x"}]}, "differ in splits"),
        ({"config": {"target": "age", "task": "classification"}}, "differ in target"),
        ({"checkpoint": {"WeightsSHA256": "w0"}}, "of one encoder"),
        ({"checkpoint": {"WeightsSHA256": "w0", "Name": "by another name"}}, "of one encoder"),
        ({"checkpoint": {"Name": "no weights"}}, "hash of the weights"),
    ],
)
def test_other_questions_and_the_same_encoder_are_refused(three, tmp_path, changed, message):
    scores = {"probe": [0.6, 0.7, 0.8], "fc-svm": [0.5, 0.6, 0.7]}
    other = write(tmp_path / "other", "wo", scores, **changed)
    with pytest.raises(ConfigError, match=message):
        average([three[0], other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_splits_that_agree_are_no_more_people_than_there_are(tmp_path):
    scores = {"probe": [0.75, 0.75, 0.75], "fc-svm": [0.5, 0.6, 0.7]}
    agreeing = [write(tmp_path / f"x{i}", f"x{i}", scores) for i in range(2)]
    fewer = write(tmp_path / "y", "y", scores, answers={"probe": 4, "fc-svm": 12})
    average(agreeing, tmp_path / "out")
    average([*agreeing, fewer], tmp_path / "of-fewer")
    found, wider = (
        results_of(tmp_path / name)["summary"]["probe"]["balanced_accuracy"]
        for name in ("out", "of-fewer")
    )
    assert found["sd"] == 0
    # Wilson's interval of 9 of 12, and that of 3 of 4.
    assert (found["low"], found["high"]) == pytest.approx((0.468, 0.911), abs=1e-3)
    assert (wider["low"], wider["high"]) == pytest.approx((0.301, 0.954), abs=1e-3)


def test_nothing_scored_for_all_is_an_error(three, tmp_path):
    other = write(tmp_path / "other", "wo", {"linear": [0.6, 0.7, 0.8]})
    with pytest.raises(ProbeError, match="no method"):
        average([three[0], other], tmp_path / "out")


def test_the_command_prints_the_table_and_refuses_what_is_no_result(three, tmp_path):
    words = ["average", *map(str, three), str(tmp_path / "out")]
    answer = CliRunner().invoke(main, words)
    assert answer.exit_code == 0, answer.output
    assert answer.output.startswith("method")
    assert CliRunner().invoke(main, words).exit_code == 2  # OUT is taken
    (tmp_path / "empty").mkdir()
    answer = CliRunner().invoke(
        main, ["average", str(three[0]), str(tmp_path / "empty"), str(tmp_path / "new")]
    )
    assert answer.exit_code == 1
    assert "results.json" in answer.output
    answer = CliRunner().invoke(main, ["average", str(three[0]), str(tmp_path / "new")])
    assert "two encoders or more" in answer.output
