"""The losses against their formulas in numpy, and what they must prefer; the teacher."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.encoder import ProjectionHead
from model.pretraining.learner import make_teacher, momentum_at, update_teacher
from model.pretraining.losses import cls_loss, coding_rate, token_loss, ttr_loss


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows, dim=-1)


def rate_by_hand(rows: np.ndarray, eps: float = 0.05) -> float:
    m, p = rows.shape
    return 0.5 * np.linalg.slogdet(np.eye(p) + p / (m * eps) * rows.T @ rows)[1]


def cls_by_hand(s: np.ndarray, t: np.ndarray, rows: np.ndarray) -> float:
    _, m, p = s.shape
    agreement = 0.5 * ((t[0] * s[1]).sum(1).mean() + (t[1] * s[0]).sum(1).mean())
    return -agreement - (p + m) / (p * m) * 0.5 * (rate_by_hand(rows[0]) + rate_by_hand(rows[1]))


@pytest.mark.parametrize("rate_on", ["average", "student"])
def test_cls_loss_is_its_formula(rate_on):
    student, teacher = unit(2, 6, 8), unit(2, 6, 8, seed=1)
    s, t = student.double().numpy(), teacher.double().numpy()
    expected = cls_by_hand(s, t, (s + t) / 2 if rate_on == "average" else s)
    assert cls_loss(student, teacher, rate_on=rate_on).item() == pytest.approx(expected, rel=1e-5)


def test_coding_rate_of_an_orthonormal_basis():
    assert coding_rate(torch.eye(8)).item() == pytest.approx(4 * math.log(1 + 1 / 0.05), rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), m=st.integers(2, 12))
def test_spread_rows_have_a_higher_coding_rate_than_collapsed_ones(seed, m):
    spread = unit(m, 8, seed=seed)
    assert coding_rate(spread) > coding_rate(spread[:1].expand(m, 8))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_coding_rate_does_not_change_under_rotation(seed):
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(seed)))[0]
    rows = unit(5, 8, seed=seed)
    assert coding_rate(rows @ rotation).item() == pytest.approx(coding_rate(rows).item(), rel=1e-4)


def test_coding_rate_is_taken_in_float32_under_autocast():
    rows = unit(64, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rate = coding_rate(rows)
    assert rate.dtype == torch.float32
    assert rate.item() == pytest.approx(rate_by_hand(rows.double().numpy()), rel=1e-5)


def test_agreement_is_across_views_not_within():
    a, b = unit(1, 6, 8), unit(1, 6, 8, seed=1)
    within = cls_loss(torch.cat([a, b]), torch.cat([a, b]))
    across = cls_loss(torch.cat([a, b]), torch.cat([b, a]))
    rate_is_equal = cls_loss(torch.cat([b, a]), torch.cat([b, a]))
    assert within.item() == pytest.approx(rate_is_equal.item(), rel=1e-5)
    assert across < within


def test_ttr_flattens_networks_into_the_batch():
    student, teacher = unit(2, 4, 9, 8), unit(2, 4, 9, 8, seed=1)
    expected = cls_loss(student.reshape(2, 36, 8), teacher.reshape(2, 36, 8))
    assert ttr_loss(student, teacher).item() == pytest.approx(expected.item(), rel=1e-6)


def test_ttr_per_network_is_the_mean_over_networks():
    student, teacher = unit(2, 4, 9, 8), unit(2, 4, 9, 8, seed=1)
    each = [cls_loss(student[:, :, n], teacher[:, :, n]).item() for n in range(9)]
    found = ttr_loss(student, teacher, ttr_rate="per_network").item()
    assert found == pytest.approx(np.mean(each), rel=1e-5)


def test_a_perfect_prediction_has_token_loss_minus_one():
    tokens = unit(2, 3, 9, 5, 8)
    mask = torch.zeros(2, 3, 9, 5, dtype=torch.bool)
    mask[..., 1:4, :] = True
    assert token_loss(tokens, tokens, mask).item() == pytest.approx(-1, rel=1e-6)


def test_token_loss_looks_at_masked_tokens_only():
    student, teacher = unit(2, 3, 9, 5, 8), unit(2, 3, 9, 5, 8, seed=1)
    mask = torch.zeros(2, 3, 9, 5, dtype=torch.bool)
    mask[..., 1:4, :] = True
    changed = torch.where(mask[..., None], student, -student)
    assert torch.equal(token_loss(changed, teacher, mask), token_loss(student, teacher, mask))


def test_scans_weigh_the_same_however_many_tokens_they_have_masked():
    teacher = unit(2, 2, 9, 5, 8)
    student = teacher.clone()
    student[:, 1] *= -1
    mask = torch.zeros(2, 2, 9, 5, dtype=torch.bool)
    mask[:, 0, :1] = True
    mask[:, 1, :8] = True
    assert token_loss(student, teacher, mask).item() == pytest.approx(0, abs=1e-6)


def test_nothing_masked_is_no_loss():
    tokens = unit(2, 3, 9, 5, 8)
    assert token_loss(tokens, tokens, torch.zeros(2, 3, 9, 5, dtype=torch.bool)) == 0


def test_the_teacher_moves_by_the_momentum_and_the_student_does_not():
    student = ProjectionHead(4, 4, 2)
    teacher = make_teacher(student)
    with torch.no_grad():
        student.mlp[0].bias.fill_(1.0)
    update_teacher(teacher, student, momentum=0.9)
    torch.testing.assert_close(teacher.mlp[0].bias, torch.full((4,), 0.1))
    torch.testing.assert_close(student.mlp[0].bias.detach(), torch.ones(4))
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad for p in student.parameters())


def test_momentum_rises_along_a_cosine_to_one():
    steps = [momentum_at(step, n_steps=100, base=0.99) for step in range(101)]
    assert steps[0] == pytest.approx(0.99)
    assert steps[50] == pytest.approx(0.995)
    assert steps[100] == pytest.approx(1.0)
    assert steps == sorted(steps)
