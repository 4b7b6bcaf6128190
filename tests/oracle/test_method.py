"""The equations of docs/method.md in loops, beside what encoder, losses and fit compute."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from model.encoder import sincos
from model.fitting.whitening import Moments, fit, silent_direction
from model.pretraining.learner import momentum_at
from model.pretraining.losses import cls_loss, token_loss, ttr_loss
from model.pretraining.step import learning_rate, regularizer_weight, weight_decay
from model.spec import EncoderSpec
from model.tokenizer import NetworkTokenizer

N_PARCELS, N_SAMPLES, DIM = 7, 20, 32
EPS, OUT = 0.05, 128


def double(tensor):
    return tensor.detach().double().numpy()


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def dense(conv, x):
    """(20, width)"""
    weight, bias = double(conv.weight), double(conv.bias)
    out = np.tile(bias, (N_SAMPLES, 1))
    for t in range(N_SAMPLES):
        for tau in (-1, 0, 1):
            if 0 <= t + tau < N_SAMPLES:
                out[t] += weight[:, :, tau + 1] @ x[:, t + tau]
    return out


def structured(conv, x, n_scales):
    """(20, width)"""
    skip, norm = double(conv.skip), double(conv.kernel_norm)[..., 0]
    n_heads, length = len(skip), 4 * 2 ** (n_scales - 1)
    filtered = np.zeros((N_PARCELS * n_heads, N_SAMPLES))
    for h in range(n_heads):
        for c in range(N_PARCELS):
            pieces = [
                2 ** (n_scales - 1 - i) * np.repeat(double(theta)[h, c], (1, 1, 2, 4)[i])
                for i, theta in enumerate(conv.kernels)
            ]
            kernel = np.concatenate(pieces) / norm[h, c]
            assert len(kernel) == length
            for t in range(N_SAMPLES):
                value = skip[h, c] * x[c, t]
                for j in range(length):
                    if 0 <= t + length // 2 - j < N_SAMPLES:
                        value += kernel[j] * x[c, t + length // 2 - j]
                filtered[c * n_heads + h, t] = value
    return filtered.T @ double(conv.projection.weight).T + double(conv.projection.bias)


@pytest.mark.parametrize("n_scales", [3, 4], ids=["published", "bundled"])
def test_a_token(n_scales) -> None:
    torch.manual_seed(1)
    spec = EncoderSpec(dim=DIM, depth=1, heads=4, sg_scales=n_scales)
    tokenizer = NetworkTokenizer(N_PARCELS, spec)
    with torch.no_grad():  # kernels that have left the start, by whose norm they are divided
        for kernel in tokenizer.structured.kernels:
            kernel += 0.5 * torch.randn_like(kernel)
    patches = torch.randn(1, N_PARCELS, N_SAMPLES)
    x = double(patches)[0]
    parts = [dense(tokenizer.dense, x), structured(tokenizer.structured, x, n_scales)]
    mean = gelu(np.concatenate(parts, axis=1)).mean(axis=0)
    token = (mean - mean.mean()) / np.sqrt(mean.var() + 1e-5)
    np.testing.assert_allclose(double(tokenizer(patches))[0], token, atol=2e-5)


def test_places_in_time() -> None:
    frequency = [10000 ** (-2 * i / DIM) for i in range(DIM // 2)]
    places = [
        [math.sin(k * w) for w in frequency] + [math.cos(k * w) for w in frequency]
        for k in range(5)
    ]
    np.testing.assert_allclose(double(sincos(5, DIM)), places, atol=1e-6)


def unit_vectors(*shape):
    vectors = np.random.default_rng(2).normal(size=(2, *shape, OUT))
    student, teacher = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return student, teacher


def summary_loss(student, teacher):
    """Of (2, m, p) unit vectors."""
    m = student.shape[1]
    agreement = np.mean([np.sum(student[0] * teacher[1], 1), np.sum(student[1] * teacher[0], 1)])
    rates = []
    for view in (student + teacher) / 2:
        gram = np.eye(OUT) + OUT / (m * EPS) * view.T @ view
        rates.append(0.5 * np.linalg.slogdet(gram)[1])
    return -agreement - (OUT + m) / (OUT * m) * 0.5 * sum(rates)


def test_summary_loss_and_temporal_regularizer() -> None:
    student, teacher = unit_vectors(2, 8)
    found = cls_loss(torch.tensor(student), torch.tensor(teacher))
    assert float(found) == pytest.approx(summary_loss(student, teacher), abs=1e-4)
    student, teacher = unit_vectors(2, 8, 9)
    found = ttr_loss(torch.tensor(student), torch.tensor(teacher))
    rows = student.reshape(2, 72, OUT), teacher.reshape(2, 72, OUT)
    assert float(found) == pytest.approx(summary_loss(*rows), abs=1e-4)


def test_token_loss() -> None:
    student, teacher = unit_vectors(2, 4, 9, 5)
    mask = np.random.default_rng(3).random((2, 4, 9, 5)) < 0.6
    expected = 0.0
    for v in range(2):
        for b in range(4):
            cosines = np.sum(student[v, b][mask[v, b]] * teacher[v, b][mask[v, b]], axis=-1)
            expected -= cosines.mean() / (2 * 4)
    found = token_loss(torch.tensor(student), torch.tensor(teacher), torch.tensor(mask))
    assert float(found) == pytest.approx(expected)


def test_curriculum() -> None:
    n_steps, active = 200, 10
    weights = regularizer_weight(n_steps, first=0.5, active_steps=active)
    falling = [0.25 * (1 + math.cos(math.pi * i / active)) for i in range(active)]
    np.testing.assert_allclose(weights, falling + [0] * (n_steps - active))
    for i in (0, 77, n_steps):
        mu = 1 - 0.005 * (1 + math.cos(math.pi * i / n_steps))
        assert momentum_at(i, n_steps=n_steps, base=0.99) == pytest.approx(mu)
    rates = learning_rate(n_steps, peak=0.0014, warmup_steps=6)
    np.testing.assert_allclose(rates[:7], [0.0014 * min(1, (i + 1) / 6) for i in range(7)])
    assert rates.argmax() in (5, 6)
    decay = weight_decay(n_steps, first=0.05, last=0.3)
    middle = 0.3 - 0.25 * (1 + math.cos(math.pi / 2)) / 2
    np.testing.assert_allclose(decay[[0, n_steps // 2]], [0.05, middle])


def test_whitening() -> None:
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(400, DIM)) @ rng.normal(size=(DIM, DIM))
    rows -= rows.mean(axis=1, keepdims=True)  # what a layer norm leaves
    mean, covariance, shrinkage = rows.mean(axis=0), np.cov(rows.T, bias=True), 0.3
    moments = Moments(
        n_windows=torch.tensor([400.0]),
        mean=torch.tensor(mean)[None],
        covariance=torch.tensor(covariance)[None],
    )
    _, matrix = fit(moments, silent_direction(torch.ones(DIM)), shrinkage=shrinkage)
    kept = np.eye(DIM) - np.full((DIM, DIM), 1 / DIM)
    shrunk = (1 - shrinkage) * kept @ covariance @ kept
    shrunk += shrinkage * np.trace(covariance) / DIM * kept
    whitened = double(matrix)[0].T @ shrunk @ double(matrix)[0]
    np.testing.assert_allclose(whitened, np.diag([1.0] * (DIM - 1) + [0.0]), atol=1e-5)
