"""Training on stored series: who is drawn, what is refused, and whether an adaptation helped."""

from __future__ import annotations

import json
import shutil

import builders
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from shard_builders import make_shards, noise_scans, write_output

from model.cli import app as cli
from model.encoder import build_encoder
from model.errors import ConfigError
from model.pretraining import pretrain
from model.pretraining.adapt import compare, state_result
from model.pretraining.batches import describe_batch, draw_batch, draw_held_out
from model.pretraining.pretrain import run_pretraining
from model.pretraining.recipes import load_config
from model.shards.crops import Cohort
from model.shards.store import write_shards
from model.shards.stored import ShardError, Shards
from model.shards.subjects import SubjectsError
from model.spec import EncoderSpec, InputSpec

SUBJECTS = [f"sub-{i:02d}" for i in range(24)]
FEW = ("run.n_steps=2", "run.batch_size=4")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("data") / "shards", 24)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return builders.make_checkpoint(tmp_path_factory.mktemp("weights") / "tiny")


def config_of(shards, start, *more):
    overrides = (f"data.shards={shards}", f"run.init={start}", *FEW, *more)
    return load_config(pretrain.recipe_path("adapt"), overrides=overrides)


def cohort_of(shards, *, n_sessions=1, spec=None):
    return Cohort(Shards(shards), SUBJECTS, spec or InputSpec(), n_sessions=n_sessions)


def test_every_subject_is_drawn_once_an_epoch_in_new_order(shards):
    cohort = cohort_of(shards)
    epochs = [
        [
            s
            for step in range(first, first + 6)
            for s in cohort.subjects_of(step, batch_size=4, seed=1)
        ]
        for first in (0, 6)
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == SUBJECTS
    assert epochs[0] != epochs[1]


def test_two_views_are_of_one_scan_or_of_two_sessions(shards):
    generator = torch.Generator().manual_seed(1)
    for n_sessions, same in ((1, True), (2, False)):
        pairs = cohort_of(shards, n_sessions=n_sessions).draw_crops(SUBJECTS, generator=generator)
        for subject, first, second in zip(SUBJECTS, *pairs, strict=True):
            assert first.scan.subject == second.scan.subject == subject
            assert (first.scan == second.scan) is same
            assert 0 <= first.start <= 20


def test_a_batch_of_stored_series_depends_on_seed_and_step_only(shards, start):
    config, cohort = config_of(shards, start), cohort_of(shards)
    first, again, other = (draw_batch(config, step, cohort=cohort) for step in (3, 3, 4))
    assert torch.equal(first.views, again.views)
    assert not torch.equal(first.views, other.views)
    assert len(describe_batch(config, 3, cohort)) == 4
    assert "_ses-1 frame" in "".join(describe_batch(config, 3, cohort))


def test_pieces_of_a_batch_are_of_different_subjects(shards, start):
    config = config_of(shards, start, "run.micro_batches=2", "views.noise=0.0")
    cohort = cohort_of(shards)
    pieces = [draw_batch(config, 0, cohort=cohort, piece=p) for p in (0, 1)]
    assert pieces[0].views.shape[:2] == (2, 2)
    assert not torch.equal(pieces[0].views, pieces[1].views)
    assert (pieces[0].mask is None) == (pieces[1].mask is None)


def test_missing_networks_of_one_scan_are_absent_in_its_views_only(tmp_path, start):
    folder = make_shards(tmp_path / "s", 6, missing=slice(450, 457))
    cohort = Cohort(Shards(folder), SUBJECTS[:6], InputSpec(), n_sessions=1)
    batch = draw_held_out(config_of(folder, start), cohort)
    assert batch.absent[:, :, 8].all()
    assert not batch.absent[:, :, :8].any()
    assert batch.views.isfinite().all()


def test_a_lost_parcel_is_filled_as_in_inference(tmp_path):
    folder = make_shards(tmp_path / "s", 3, missing=slice(10, 12))
    cohort = Cohort(Shards(folder), SUBJECTS[:3], InputSpec(), n_sessions=1)
    crops, _ = cohort.draw_crops(SUBJECTS[:3], generator=torch.Generator())
    values, lost = cohort.read(crops)
    assert lost.any(dim=0).nonzero().flatten().tolist() == [10, 11]
    assert (values[:, 10:12].std(dim=2) > 0.01).all()


def test_too_few_sessions_are_refused_by_name(tmp_path):
    folder = make_shards(tmp_path / "s", 4, n_sessions=1)
    with pytest.raises(SubjectsError, match=r"expected 2 sessions .* sub-00, sub-01"):
        Cohort(Shards(folder), SUBJECTS[:4], InputSpec(), n_sessions=2)


@pytest.mark.parametrize("spec", [InputSpec(tr_s=1.0), InputSpec(normalization="zscore")])
def test_series_of_another_kind_than_the_encoder_takes_are_refused(shards, spec):
    with pytest.raises(ShardError, match=r"expected TR .* found 2\.0 and robust"):
        cohort_of(shards, spec=spec)


def test_scans_shorter_than_a_window_are_refused(shards):
    with pytest.raises(ShardError, match="shorter than a window of 200"):
        cohort_of(shards, spec=InputSpec(window_samples=200))


def test_a_batch_larger_than_the_list_is_refused(shards, start, tmp_path):
    overrides = (f"data.shards={shards}", f"run.init={start}", "run.batch_size=64")
    with pytest.raises(ConfigError, match=r"run\.batch_size 64 .* found 17"):
        run_pretraining("adapt", tmp_path / "out", overrides)


def test_nan_in_a_shard_stops_before_training_and_names_the_scan(shards, start, tmp_path):
    copy = shutil.copytree(shards, tmp_path / "copy")
    values = np.load(copy / "shard-00000.npy")
    values[3, 3] = np.nan
    np.save(copy / "shard-00000.npy", values)
    overrides = (f"data.shards={copy}", f"run.init={start}", *FEW)
    with pytest.raises(ShardError, match="sub-00_ses-1"):
        run_pretraining("adapt", tmp_path / "out", overrides)
    assert not (tmp_path / "out").exists()


def test_other_lists_than_the_run_was_started_with_are_refused(shards, tmp_path):
    copy = shutil.copytree(shards, tmp_path / "copy")
    overrides = (f"data.shards={copy}", "run.init=random", *FEW)
    recipe = tmp_path / "recipe.toml"
    text = pretrain.recipe_path("adapt").read_text()
    recipe.write_text(f"{text}\n[encoder]\ndim = 16\ndepth = 1\nheads = 2\n[input]\n")
    overrides = (*overrides, 'run.readout=["mean"]')
    run_pretraining(recipe, tmp_path / "out", overrides)
    train = copy / "train.txt"
    train.write_text("".join(train.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(ConfigError, match="the data of the run have changed"):
        run_pretraining(recipe, tmp_path / "out", overrides)


def encoders():
    return [build_encoder(EncoderSpec(dim=16, depth=1, heads=2), seed=s).eval() for s in (1, 2)]


def test_comparing_an_encoder_with_itself_is_no_gain(shards):
    encoder, _ = encoders()
    found = compare(encoder, encoder, cohort_of(shards), ("networks",))
    assert found["compared"] == "two sessions"
    assert found["i_diff_gain_95"] == [0.0, 0.0]
    assert not found["helped"]
    assert "did not help" in state_result(found)


def test_an_encoder_that_knows_nothing_is_found_to_be_worse(shards):
    encoder, blind = encoders()
    for tokenizer in blind.tokenizers:
        torch.nn.init.zeros_(tokenizer.norm.weight)
    good = compare(blind, encoder, cohort_of(shards), ("networks",))
    assert good["helped"]
    assert good["identification"]["after"] > 50
    assert "the adaptation helped" in state_result(good)
    assert not compare(encoder, blind, cohort_of(shards), ("networks",))["helped"]


def test_without_second_sessions_halves_of_a_scan_are_compared(tmp_path):
    folder = make_shards(tmp_path / "s", 6, n_sessions=1)
    cohort = Cohort(Shards(folder), SUBJECTS[:6], InputSpec(), n_sessions=1)
    assert compare(*encoders(), cohort, ("networks",))["compared"] == "the halves of one scan"


def test_a_network_that_a_scan_lacks_is_not_compared(tmp_path):
    folder = make_shards(tmp_path / "s", 6, missing=slice(450, 457))
    cohort = Cohort(Shards(folder), SUBJECTS[:6], InputSpec(), n_sessions=1)
    found = compare(*encoders(), cohort, ("networks",))
    assert np.isfinite([found["i_diff_gain"], *found["i_diff_gain_95"]]).all()
    assert found["i_diff"]["before"] > 0


def test_adapting_to_participant_outputs_stores_divides_trains_and_checks(tmp_path, start):
    for scan in noise_scans(26):
        values = np.asarray(scan.series.values)
        write_output(tmp_path / "outputs", scan.subject, values, session=scan.session)
    before = {p.name: p.read_bytes() for p in start.iterdir()}
    out = tmp_path / "adapted"
    words = ["pretrain", "--init", str(start), "--data", str(tmp_path / "outputs"), str(out)]
    words += [w for override in FEW for w in ("--set", override)]
    answer = CliRunner().invoke(cli.main, words)
    card = json.loads((out / "checkpoint/card.json").read_text())
    check = card["training"]["held_out_check"]
    # Two steps on noise: whichever way it went, exit code and statement say so.
    assert answer.exit_code == (0 if check["helped"] else 1)
    assert ("helped" if check["helped"] else "did not help") in answer.output
    assert check["n_test_subjects"] == 5
    assert set(check["losses"]["after"]) == {"cls", "ttr", "token"}
    assert card["training"]["parent"]["name"] == "tiny-random"
    assert card["readout"] == ["networks"]
    assert {p.name: p.read_bytes() for p in start.iterdir()} == before
    lists = [set((out / f"shards/{n}.txt").read_text().split()) for n in ("train", "test")]
    assert not lists[0] & lists[1]


def test_whoever_has_one_session_is_paired_within_it_where_either_will_do(tmp_path):
    scans = [*noise_scans(6)]
    kept = [s for s in scans if s.session == "ses-1" or s.subject < "sub-03"]
    write_shards(tmp_path / "s", kept, InputSpec(), made_from="noise")
    cohort = Cohort(
        Shards(tmp_path / "s"), SUBJECTS[:6], InputSpec(), n_sessions=2, all_have=False
    )
    pairs = cohort.draw_crops(SUBJECTS[:6], generator=torch.Generator().manual_seed(1))
    same = [a.scan == b.scan for a, b in zip(*pairs, strict=True)]
    assert same == [False] * 3 + [True] * 3


def test_too_few_held_out_subjects_are_refused(tmp_path, start):
    folder = make_shards(tmp_path / "s", 12)
    with pytest.raises(SubjectsError, match="at least 5 test subjects"):
        run_pretraining("adapt", tmp_path / "o", (f"data.shards={folder}", f"run.init={start}"))


def test_recipe_and_out_are_needed_without_data():
    answer = CliRunner().invoke(cli.main, ["pretrain", "tiny"])
    assert answer.exit_code == 2
    assert "RECIPE and OUT are needed" in answer.output


def test_shards_are_made_divided_and_checked_on_the_command_line(tmp_path):
    def call(*words):
        return CliRunner().invoke(cli.main, ["shards", *map(str, words)])

    folder = tmp_path / "s"
    made = call("simulate", folder, "--subjects", 4, "--seed", 1, "--sessions", 1)
    assert "4 scans of 4 subjects" in made.output
    assert "2 subjects" in call("split", folder, "--seed", 1).output
    assert "4 scans of 4 subjects are as they were written" in call("check", folder).output
    assert call("simulate", folder, "--subjects", 4, "--seed", 1).exit_code == 1
    assert "no embedded run" in call("outputs", tmp_path, tmp_path / "t").output


def test_several_folders_and_a_part_of_their_subjects_are_trained_on(tmp_path, shards):
    more = make_shards(tmp_path / "more", 12)
    trained = {}
    for n_subjects in (8, 12):
        overrides = (
            "run.n_steps=2",
            f"run.n_subjects={n_subjects}",
            f"data.more_shards=['{more}']",
            *(f"data.{part}={part}.txt" for part in ("train", "validation", "test")),
        )
        recipe = tmp_path / "recipe.toml"
        recipe.write_text(
            pretrain.recipe_path("tiny")
            .read_text()
            .replace("[simulation]", f'[data]\nshards = "{shards}"')
        )
        config = load_config(recipe, overrides=overrides)
        train = pretrain.Material(config).cohorts["train"]
        trained[n_subjects] = set(train.subjects)
        run_pretraining(recipe, tmp_path / f"out-{n_subjects}", overrides)
    assert trained[8] < trained[12]
    assert {s.partition("/")[0] for s in trained[12]} == {"shards", "more"}
    data = json.loads((tmp_path / "out-8/checkpoint/card.json").read_text())["training"]["data"]
    assert data["made_from"] == "shards: noise; more: noise"
    assert data["lists"]["train"]["n_subjects"] == 8
