"""Our encoder, losses and importer against numbers of the published code (tests/golden)."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from model.checkpoint import import_published
from model.encoder import Encoder, ProjectionHead
from model.pretraining.learner import momentum_at, update_teacher
from model.pretraining.losses import cls_loss, token_loss, ttr_loss

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "reference_model"
EXPECTED = json.loads((GOLDEN / "small.json").read_text())
NETWORK_WEIGHT = EXPECTED["network_loss_weight"]
TOKEN_WEIGHT = 0.5
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 0.05
DEAD = ("tian3", "buckner7", "inter_network_transformer.norm", "_mask_predictor")
# Part of the code, not of the weights: built into our forward path and checked by the importer.
CONSTANT = ("multiplier", "temporal_pos_embedding")
RENAMED = (
    ("network_tokenizers.schaefer400", "tokenizers"),
    ("branches.0", "dense"),
    ("branches.1.slconv.D", "structured.skip"),
    ("branches.1.slconv.kernel_list", "structured.kernels"),
    ("branches.1.slconv.kernel_norm", "structured.kernel_norm"),
    ("branches.1.projection", "structured.projection"),
    ("inter_network_transformer.mask_embedding", "mask_token"),
    ("inter_network_transformer.cls_token", "cls_token"),
    ("inter_network_transformer.network_learnable_pos_embedding.weight", "network_embedding"),
    ("inter_network_transformer.transformer_blocks", "blocks"),
    ("attn", "attention"),
    ("mlp.3", "mlp.2"),
    ("ls1", "scale1"),
    ("ls2", "scale2"),
)


class Side(NamedTuple):
    encoder: Encoder
    head: ProjectionHead

    def tensors(self) -> dict[str, torch.Tensor]:
        encoder = {f"encoder.{k}": v for k, v in self.encoder.state_dict().items()}
        return encoder | {f"predictor.{k}": v for k, v in self.head.state_dict().items()}

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        encoder = {f"encoder.{k}": v for k, v in self.encoder.named_parameters()}
        return encoder | {f"predictor.{k}": v for k, v in self.head.named_parameters()}


class Step(NamedTuple):
    """A masked or unmasked training step up to its gradients."""

    student: Side
    teacher: Side
    losses: tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def our_name(published: str) -> str:
    _, name = published.split("_", 1)
    if name.startswith("encoder."):
        for theirs, ours in RENAMED:
            name = name.replace(theirs, ours)
    return name


def test_the_numbers_are_those_that_were_handed_over():
    for line in (GOLDEN / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((GOLDEN / name).read_bytes()).hexdigest() == digest, name


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return torch.load(GOLDEN / "small_ckpt.pth", weights_only=True)["model_state_dict"]


@pytest.fixture(scope="module")
def arrays() -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / "small_io.npz") as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored}


@pytest.fixture(scope="module")
def sides(state, tmp_path_factory) -> tuple[Side, Side]:
    """Student and teacher; the student goes through the importer under the teacher's name."""
    swap = {"student": "teacher", "teacher": "student"}
    exchanged = {f"{swap[k[:7]]}{k[7:]}": v for k, v in state.items()}
    path = tmp_path_factory.mktemp("exchanged") / "exchanged.pth"
    torch.save({"model_state_dict": exchanged}, path)
    paths = {"student": path, "teacher": GOLDEN / "small_ckpt.pth"}
    made = []
    for who, path in paths.items():
        head = ProjectionHead(48, 64, 32)
        part = f"{who}_predictor."
        head.load_state_dict({k.removeprefix(part): v for k, v in state.items() if part in k})
        encoder = import_published(path, heads=4).train()
        made.append(Side(encoder.requires_grad_(who == "student"), head))
    return made[0], made[1]


def forward(sides: tuple[Side, Side], arrays: dict[str, torch.Tensor], *, masked: bool) -> Step:
    student, teacher = sides
    views = (arrays["view1"], arrays["view2"])
    masks = (arrays["mask1"], arrays["mask2"])
    with torch.no_grad():
        taught = torch.stack([teacher.encoder(view) for view in views])
    learned = torch.stack(
        [student.encoder(v, m if masked else None) for v, m in zip(views, masks, strict=True)]
    )
    projected = [
        (
            side.head(tokens[:, :, 0]),
            side.head(tokens[:, :, 1:].unflatten(2, (9, 5)).mean(3)),
            side.head(tokens[:, :, 1:].unflatten(2, (9, 5))),
        )
        for side, tokens in ((student, learned), (teacher, taught))
    ]
    (s_cls, s_net, s_tok), (t_cls, t_net, t_tok) = projected
    mask = torch.stack(masks) if masked else torch.zeros(2, 6, 9, 5, dtype=torch.bool)
    losses = (
        cls_loss(s_cls, t_cls),
        NETWORK_WEIGHT * ttr_loss(s_net, t_net),
        TOKEN_WEIGHT * token_loss(s_tok, t_tok, mask),
    )
    return Step(student, teacher, losses)


@pytest.fixture(scope="module")
def masked_step(sides, arrays) -> Step:
    step = forward(copy.deepcopy(sides), arrays, masked=True)
    sum(step.losses).backward()
    return step


@pytest.fixture(scope="module")
def finished_step(sides, masked_step) -> Step:
    """A copy of it after clipping, AdamW and the teacher's update."""
    student, teacher = copy.deepcopy(sides)
    for name, parameter in student.parameters().items():
        parameter.grad = masked_step.student.parameters()[name].grad.clone()
    parameters = list(student.parameters().values())
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY).step()
    momentum = momentum_at(25, n_steps=100, base=0.99)
    update_teacher(teacher.encoder, student.encoder, momentum=momentum)
    update_teacher(teacher.head, student.head, momentum=momentum)
    return Step(student, teacher, masked_step.losses)


@pytest.mark.parametrize(
    ("who", "mask", "expected"),
    [(1, None, "tokens"), (1, "mask", "tokens_masked"), (0, None, "tokens_student")],
)
def test_tokens_are_those_of_the_published_code(sides, arrays, who, mask, expected):
    with torch.no_grad():
        tokens = sides[who].encoder(arrays["x"], None if mask is None else arrays[mask])
    # Relative to the largest: single tokens pass through zero.
    scale = arrays[expected].abs().max()
    assert (tokens - arrays[expected]).abs().max() < 1e-5 * scale


def test_the_summary_token_comes_first(arrays):
    assert torch.equal(arrays["tokens"][:, 0], arrays["cls"])


@pytest.mark.parametrize("masked", [True, False])
def test_losses_are_those_of_the_published_code(sides, arrays, masked):
    losses = forward(sides, arrays, masked=masked).losses
    expected = EXPECTED["masked_step" if masked else "unmasked_step"]
    found = [*(loss.item() for loss in losses), sum(losses).item()]
    names = ("cls_loss", "network_loss", "mask_loss", "total_loss")
    assert found == pytest.approx([expected[name] for name in names], rel=1e-5)


def test_gradients_of_the_masked_step_are_those_of_the_published_code(masked_step):
    parameters = masked_step.student.parameters()
    expected = {our_name(key): norm for key, norm in EXPECTED["grad_norms"].items()}
    assert expected.keys() == parameters.keys()
    found = {name: parameter.grad.norm().item() for name, parameter in parameters.items()}
    assert found == pytest.approx(expected, rel=1e-4)
    total = math.hypot(*found.values())
    assert total == pytest.approx(EXPECTED["grad_norm_total"], rel=1e-5)


def test_every_live_tensor_of_both_sides_has_the_published_sum_and_norm(sides):
    # `after_step` holds the state before the step: see the README in tests/golden.
    student, teacher = (side.tensors() for side in sides)
    tensors = {f"student_{k}": v for k, v in student.items()}
    tensors |= {f"teacher_{k}": v for k, v in teacher.items()}
    live = {
        f"{key[:7]}_{our_name(key)}": value
        for key, value in EXPECTED["after_step"].items()
        if not any(part in key for part in (*DEAD, *CONSTANT))
    }
    assert live.keys() == tensors.keys()
    for name, (total, norm) in live.items():
        tensor = tensors[name].double()
        assert tensor.norm().item() == pytest.approx(norm, rel=1e-9), name
        assert tensor.sum().item() == pytest.approx(total, rel=1e-9, abs=1e-9), name


def test_the_published_after_step_table_is_the_checkpoint_itself(state):
    """Fails if the material is ever replaced by numbers taken after the step.

    Then compare `finished_step` with it, and drop the formula below.
    """
    table = EXPECTED["after_step"]
    assert len(table) == 732
    for key, (total, norm) in table.items():
        tensor = state[key].double()
        assert (tensor.sum().item(), tensor.norm().item()) == pytest.approx((total, norm), 1e-9)


def test_one_optimiser_step_follows_the_formula_of_adamw(state, finished_step):
    """The first step in float64: decay, then the clipped gradient over its own size."""
    for key in EXPECTED["grad_norms"]:
        parameter = finished_step.student.parameters()[our_name(key)]
        gradient = parameter.grad.double()
        before = state[key].double().reshape(parameter.shape)
        move = gradient / (gradient.abs() + 1e-8)
        after = before * (1 - LEARNING_RATE * WEIGHT_DECAY) - LEARNING_RATE * move
        assert parameter.double().norm().item() == pytest.approx(after.norm().item(), rel=1e-6)


def test_one_teacher_step_follows_the_published_formula(state, finished_step):
    student, teacher, _ = finished_step
    momentum = 1 - 0.01 * (math.cos(math.pi * 25 / 100) + 1) / 2
    for key in EXPECTED["grad_norms"]:
        name = our_name(key)
        followed = student.parameters()[name].detach().double()
        before = state[key.replace("student", "teacher", 1)].double().reshape(followed.shape)
        after = momentum * before + (1 - momentum) * followed
        found = teacher.parameters()[name].double().norm().item()
        assert found == pytest.approx(after.norm().item(), rel=1e-6)


def test_no_buffer_moves_in_a_step(state, finished_step):
    for who, side in (("student", finished_step.student), ("teacher", finished_step.teacher)):
        for i, tokenizer in enumerate(side.encoder.tokenizers):
            key = f"{who}_encoder.network_tokenizers.schaefer400.{i}.branches.1.slconv.kernel_norm"
            assert torch.equal(tokenizer.structured.kernel_norm, state[key])
