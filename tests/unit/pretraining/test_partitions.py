"""Training on another partition: recipes, masks, whitening, what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import builders
import numpy as np
import pytest

from model.checkpoint import load_encoder
from model.errors import ConfigError
from model.networks import NETWORKS
from model.partition.groups import Group
from model.partition.named import partition
from model.pretraining.batches import draw_batch
from model.pretraining.pretrain import run_pretraining
from model.pretraining.recipes import load_config, load_saved, recipe_path
from model.spec import CheckpointCard

if TYPE_CHECKING:
    from pathlib import Path

TINY = recipe_path("tiny")
SCALES = "encoder.groups=['networks', 'brain:7']"
SHORT = ("run.n_steps=3", "run.save_every=2")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    run_pretraining(TINY, out, (*SHORT, SCALES, "objective.ttr_rate=per_network"))
    return out


def test_a_run_of_two_scales_trains_all_rows(finished) -> None:
    encoder = load_encoder(finished / "checkpoint")
    assert encoder.spec.rows[8:] == ("Cerebellum", *(f"Brain{i}" for i in range(1, 8)))
    first = load_config(TINY, overrides=(SCALES,))
    assert load_saved(finished / "config.json").encoder == first.encoder
    losses = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert all(np.isfinite(row["total"]) for row in losses)


def test_the_card_and_the_settings_hold_the_groups(finished) -> None:
    card = CheckpointCard.load(finished / "checkpoint/card.json")
    assert card.encoder.groups == partition(["networks", "brain:7"])
    saved = json.loads((finished / "config.json").read_text())["encoder"]["groups"]
    assert saved[-1] == {"name": "Brain", "parcels": "1-457", "tokens": 7}
    assert card.training["config"]["encoder"]["groups"] == saved


def test_a_run_is_not_resumed_with_other_groups(finished) -> None:
    told = r"encoder\.groups the nine networks, Brain x 7, now the nine networks, Brain x 2"
    other = "encoder.groups=['networks', 'brain:2']"
    with pytest.raises(ConfigError, match=told):
        run_pretraining(TINY, finished, (*SHORT, other, "objective.ttr_rate=per_network"))
    with pytest.raises(ConfigError, match="Brain x 7, now the nine networks"):
        run_pretraining(TINY, finished, (*SHORT, "objective.ttr_rate=per_network"))


@pytest.mark.parametrize("own", ["structured", "dense"])
def test_a_start_with_another_tokenizer_is_refused(tmp_path, finished, own) -> None:
    words = (*SHORT, SCALES, f"run.init={finished / 'checkpoint'}", f"encoder.branches=['{own}']")
    told = rf"has branches \('dense', 'structured'\), not \('{own}',\) as in the settings"
    with pytest.raises(ConfigError, match=told):
        run_pretraining(TINY, tmp_path / "out", words)


def test_training_goes_on_from_a_checkpoint_of_the_same_groups_only(tmp_path, finished) -> None:
    start = f"run.init={finished / 'checkpoint'}"
    recipe = tmp_path / "recipe.toml"
    text = TINY.read_text().split("[encoder]")
    recipe.write_text(text[0] + "[input]" + text[1].split("[input]")[1])
    run_pretraining(recipe, tmp_path / "out", (*SHORT, start))
    assert load_encoder(tmp_path / "out/checkpoint").spec.rows[-1] == "Brain7"
    told = "found the nine networks, Brain x 7, expected the nine networks"
    with pytest.raises(ConfigError, match=told):
        run_pretraining(TINY, tmp_path / "other", (*SHORT, start))
    builders.make_checkpoint(tmp_path / "nine")
    with pytest.raises(ConfigError, match="found the nine networks, expected the nine networks, "):
        run_pretraining(
            TINY, tmp_path / "other", (*SHORT, SCALES, f"run.init={tmp_path / 'nine'}")
        )


def test_a_table_of_ones_own_may_be_named_in_a_recipe(tmp_path) -> None:
    table = tmp_path / "mine.tsv"
    table.write_text("parcel\tgroup\ttokens\n7Networks_LH_Vis_1\tMine\t2\n")
    config = load_config(TINY, overrides=(f"encoder.groups=['networks', '{table}']",))
    assert config.encoder.groups[-1] == Group("Mine", (0,), 2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("['nets']", "'nets': no such partition"),
        ("['networks', 'networks']", "two rows of the grid would be called"),
        ("[]", "one or more"),
        ("networks", "expected a list, each Group"),
        ("[9]", "expected a list, each Group"),
        ("['brain:0']", "tokens 0"),
    ],
)
def test_groups_that_there_are_not_are_refused(words: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_config(TINY, overrides=(f"encoder.groups={words}",))


def test_a_network_that_is_missing_is_masked_at_every_scale() -> None:
    words = "encoder.groups=['networks', 'brain', 'hemispheres']"
    config = load_config(TINY, overrides=(words, "simulation.cut_probability=1.0"))
    batch = draw_batch(config, 0)
    absent = dict(zip(config.encoder.rows, batch.absent.all(dim=3)[0, 0].tolist(), strict=True))
    assert absent["Cerebellum"]
    assert absent["CerebellumB"]
    assert not any(absent[n] for n in (*NETWORKS[:7], "VisL", "Brain"))
    assert absent["Subcortical"] == absent["SubcorticalL"] == absent["SubcorticalR"]
