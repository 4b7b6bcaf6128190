"""What a run can leave out or change of the published training: each changes that, and no more."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from model.errors import ConfigError
from model.pretraining.batches import draw_batch, draw_pieces
from model.pretraining.learner import Learner
from model.pretraining.parallel import Processes
from model.pretraining.recipes import load_config, recipe_path
from model.pretraining.step import Trainer

TINY = Path(str(files("model").joinpath("data/pretraining"))) / "tiny.toml"
ALONE = Processes(device=torch.device("cpu"))
ALL_LOSSES = ("objective.mask_probability=1.0", "encoder.depth=2")


def config_with(*overrides):
    return load_config(TINY, overrides=(*ALL_LOSSES, *overrides))


def trainer_of(config):
    return Trainer(Learner(config), config, ALONE)


def backward(*overrides):
    """Return losses and gradients of one batch."""
    config = config_with(*overrides)
    trainer = trainer_of(config)
    losses = trainer.backward([draw_batch(config, 0)], ttr_weight=0.5)
    gradients = {n: p.grad for n, p in trainer.learner.student.named_parameters()}
    return {name: float(loss) for name, loss in losses.items()}, gradients


def test_without_the_summary_loss_the_others_are_as_they_were():
    with_it, without = backward()[0], backward("objective.cls_weight=0.0")[0]
    assert without["token"] == with_it["token"]
    assert without["ttr"] == with_it["ttr"]
    assert without["total"] == pytest.approx(with_it["total"] - with_it["cls"], abs=1e-5)


def test_without_the_summary_loss_nothing_is_learned_from_the_summary():
    only_tokens = ("objective.cls_weight=0.0",)
    config = config_with(*only_tokens, "objective.mask_probability=0.0")
    trainer = trainer_of(config)
    trainer.backward([draw_batch(config, 0)], ttr_weight=0.0)
    assert all(not p.grad.any() for p in trainer.learner.student.parameters())


def test_without_the_coding_rate_a_loss_is_agreement_alone():
    with_it, without = backward()[0], backward("objective.rate_weight=0.0")[0]
    assert without["token"] == with_it["token"]
    assert -1 <= without["cls"] <= 1
    assert -1 <= without["ttr"] <= 1
    assert with_it["cls"] < without["cls"] - 0.5


def test_half_the_coding_rate_is_half_of_what_it_takes_away():
    whole, half, none = (
        backward(f"objective.rate_weight={weight}")[0]["cls"] for weight in (1.0, 0.5, 0.0)
    )
    assert none - half == pytest.approx((none - whole) / 2, rel=1e-5)


def test_without_the_coding_rate_features_collapse():
    def spread(weight):
        config = config_with(
            f"objective.rate_weight={weight}", "run.n_steps=60", "optimizer.learning_rate=0.01"
        )
        trainer = trainer_of(config)
        batch = draw_batch(config, 0)
        for step in range(60):
            found = trainer.step(step, [batch], look=step == 59)
        return float(found["teacher_std"])

    assert spread(0.0) < 0.5 * spread(1.0)


@pytest.mark.parametrize("kind", ["networks", "patches", "random", "blocks"])
def test_another_kind_of_mask_changes_the_mask_and_not_the_views(kind):
    published, other = (
        draw_batch(config_with(f"objective.mask_kind={k}"), 0) for k in ("slices", kind)
    )
    assert torch.equal(published.views, other.views)
    assert not torch.equal(published.mask, other.mask)


@pytest.mark.parametrize(
    "setting",
    [
        "parcels_zeroed=[0.1, 0.3]",
        "time_zeroed=[0.2, 0.4]",
        "noise=0.2",
        "scale=[0.6, 1.4]",
        "physiology=[0.1, 0.3]",
        "lost_parcels=predicted",
    ],
)
def test_another_corruption_changes_the_views(setting):
    published, other = (draw_batch(config_with(*x), 0) for x in ((), (f"views.{setting}",)))
    assert not torch.equal(published.views, other.views)


def test_without_layer_decay_all_parameters_learn_in_one_group():
    (group,) = trainer_of(config_with()).optimizer.param_groups
    assert len(group["params"]) == len(list(Learner(config_with()).student.parameters()))


def test_lower_layers_learn_more_slowly_with_layer_decay():
    config = config_with("optimizer.layer_decay=0.5", "optimizer.warmup_share=0.0")
    trainer = trainer_of(config)
    trainer.step(0, [draw_batch(config, 0)], look=False)
    rate = {id(p): g["lr"] for g in trainer.optimizer.param_groups for p in g["params"]}
    student, peak = trainer.learner.student, config.optimizer.learning_rate
    assert len(rate) == len(list(student.parameters()))
    assert rate[id(student.head.mlp[0].weight)] == peak
    assert rate[id(student.encoder.blocks[1].attention.qkv.weight)] == peak / 2
    assert rate[id(student.encoder.blocks[0].attention.qkv.weight)] == peak / 4
    assert rate[id(student.encoder.cls_token)] == peak / 8


def test_layer_decay_changes_what_is_learned_and_not_the_gradient():
    plain, decayed = (backward(f"optimizer.layer_decay={d}")[1] for d in (1.0, 0.5))
    assert all(torch.equal(plain[name], decayed[name]) for name in plain)


def test_branches_are_left_out_more_often_the_deeper_they_are():
    factors = draw_batch(
        config_with("optimizer.drop_path=0.5", "run.batch_size=512", "encoder.depth=2"), 0
    ).factors
    assert factors.shape == (4, 1024)
    assert (factors == 0).float().mean(dim=1).tolist() == pytest.approx(
        [0.25, 0.25, 0.5, 0.5], abs=0.05
    )
    assert factors.mean(dim=1).tolist() == pytest.approx([1] * 4, abs=0.1)


def test_drop_path_leaves_out_branches_of_the_student_alone():
    config = config_with("optimizer.drop_path=0.5")
    trainer, batch = trainer_of(config), draw_batch(config, 0)
    student, teacher = trainer.learner.student, trainer.learner.teacher
    whole = student(batch.views, batch.absent).summary
    dropped = student(batch.views, batch.absent, factors=batch.factors).summary
    assert not torch.equal(dropped, whole)
    assert torch.equal(student(batch.views, batch.absent).summary, whole)
    assert torch.equal(teacher(batch.views, batch.absent).summary, whole)
    assert teacher.paths is None


def test_drop_path_changes_neither_views_nor_masks():
    plain, dropping = (
        draw_batch(config_with(f"optimizer.drop_path={rate}"), 0) for rate in (0.0, 0.3)
    )
    assert plain.factors is None
    assert torch.equal(plain.views, dropping.views)
    assert torch.equal(plain.mask, dropping.mask)


def test_drop_path_in_pieces_has_the_gradient_of_the_whole_batch():
    config = config_with("optimizer.drop_path=0.5", "run.micro_batches=2")
    pieces = draw_pieces(config, 0, cohort=None, pieces=(0, 1))
    apart, together = trainer_of(config), trainer_of(config)
    apart.backward(pieces, ttr_weight=0.5)
    joined = type(pieces[0])(
        **{
            name: torch.cat([getattr(p, name) for p in pieces], dim=1)
            for name in ("views", "absent", "mask")
        },
        factors=torch.cat([p.factors.view(4, 2, -1) for p in pieces], dim=2).flatten(1),
    )
    together.backward([joined], ttr_weight=0.5)
    pairs = zip(
        apart.learner.student.parameters(), together.learner.student.parameters(), strict=True
    )
    for a, b in pairs:
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.drop_path=1.0", "from 0 to 0.9"),
        ("optimizer.layer_decay=0", "above 0, to 1"),
        ("optimizer.layer_decay=1.1", "above 0, to 1"),
        ("objective.mask_kind=rows", "'slices', 'networks', 'patches', 'random', 'blocks'"),
        ("objective.mask_ratio=[0.1, 0.9]", "masks 0 to 7 of 9 rows"),
        ("objective.rate_weight=-1", "at least 0"),
    ],
)
def test_what_cannot_be_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        config_with(override)


@pytest.mark.parametrize(
    "overrides",
    [
        ("encoder.branches=['dense']", "encoder.dense_kernel=20"),
        ("encoder.branches=['structured']", "run.init=centred"),
        ("encoder.branches=['dense', 'depthwise']",),
        ("encoder.pooling=max",),
        ("encoder.pooling=attention",),
        ("encoder.groups=['parcels']", "encoder.branches=['linear']", "run.batch_size=2"),
        ("encoder.groups=['brain:3']",),
        ("encoder.groups=['networks', 'brain:2']",),
    ],
)
def test_other_tokens_are_learned_from_alike(overrides):
    config = config_with(*overrides)
    trainer = trainer_of(config)
    batch = draw_batch(config, 0)
    found = trainer.step(0, [batch], look=True)
    assert all(bool(torch.isfinite(value)) for value in found.values())
    assert batch.mask.shape[2] == len(config.encoder.rows)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("encoder.branches=['dense', 'depthwise']", "run.init=centred"),
            "dense and structured",
        ),
        (("encoder.branches=['linear']",), "groups of one parcel each"),
    ],
)
def test_tokens_that_cannot_begin_so_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        config_with(*overrides)


PAGE = Path(__file__).resolve().parents[3] / "docs/paper.md"
SETTING = re.compile(r"`((?:run|encoder|input|views|objective|optimizer|data)\.\w+=[^`]+)`")
ROWS = [found for line in PAGE.read_text().splitlines() if (found := tuple(SETTING.findall(line)))]


def variants(row):
    """Settings of a row that go together; several values of one key are as many variants."""
    keys = [setting.partition("=")[0] for setting in row]
    if len(set(keys)) == len(keys):
        return [row]
    return [(setting,) for setting in row]


@pytest.mark.parametrize("settings", [v for row in ROWS for v in variants(row)], ids=" ".join)
def test_every_setting_on_the_page_of_the_paper_is_one_and_changes_the_published_run(settings):
    published = load_config(recipe_path("published"))
    changed = load_config(recipe_path("published"), overrides=settings)
    differing = {
        f"{section}.{key}"
        for section, table in changed.to_dict().items()
        for key, value in table.items()
        if value != published.to_dict()[section].get(key)
    }
    assert differing == {setting.partition("=")[0] for setting in settings}
