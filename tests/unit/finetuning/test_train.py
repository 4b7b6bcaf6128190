"""Training of encoder and head: rates by layer, frozen start, best state restored, adapters."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from model.embed import embed_windows
from model.encoder import build_encoder
from model.errors import ConfigError
from model.finetuning import train as training
from model.finetuning.finetune import add_adapters, merge_adapters, require_library
from model.finetuning.options import FinetuneConfig
from model.finetuning.predictor import (
    make_predictor,
    read_out,
    scores_of,
)
from model.finetuning.train import Crops, best_of, train
from model.networks import network_columns
from model.partition.named import partition
from model.preprocess import window
from model.pretraining.layer_rates import parameter_groups
from model.probing.participants import Labels
from model.probing.samples import ProbeError, Samples
from model.series import ParcelSeries
from model.spec import EncoderSpec, InputSpec

N = 20  # as `values` has
SPEC = EncoderSpec(dim=16, depth=2, heads=2)
CONFIG = FinetuneConfig(target="x", task="classification", batch_size=4, n_crops=1)
NAMES = tuple(f"sub-{i:02d}" for i in range(N))
needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed")


@pytest.fixture(scope="module")
def labels():
    of = {name: float(i % 2) for i, name in enumerate(NAMES)}
    return Labels(column="x", task="classification", classes=("a", "b"), values=of)


def crops_of(values, labels, chosen):
    names = tuple(NAMES[i] for i in chosen)
    windows = np.stack([values[i, 0, :100].T for i in chosen])
    return Crops(
        windows=Samples(values=windows, subjects=names, scans=names),
        masked=np.zeros((len(names), 9, 5), bool),
        targets=labels.of(names),
    )


@pytest.fixture
def parts(values, labels):
    return crops_of(values, labels, range(12)), crops_of(values, labels, range(12, 20))


def predictor_of(seed=0):
    encoder = build_encoder(SPEC, seed=seed)
    return make_predictor(encoder, readout=("networks",), n_outputs=2, seed=seed)


def fit(predictor, parts, labels, **settings):
    rate, seed = settings.pop("learning_rate", 1e-4), settings.pop("seed", 0)
    return train(
        predictor,
        lambda _generator: parts[0],
        parts[1],
        labels,
        replace(CONFIG, **settings),
        learning_rate=rate,
        scale=(0.0, 1.0),
        seed=seed,
    )


def weights(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


# Rates


def test_every_parameter_learns_at_the_rate_of_its_layer():
    predictor = predictor_of()
    groups = parameter_groups(predictor, depth=2, learning_rate=1.0, layer_decay=0.5)
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert len(rate) == len(list(predictor.parameters()))
    encoder = predictor.encoder
    assert rate[id(predictor.head.linear.weight)] == rate[id(encoder.norm.weight)] == 1.0
    assert rate[id(encoder.blocks[1].attention.qkv.weight)] == 0.5
    assert rate[id(encoder.blocks[0].mlp[0].weight)] == 0.25
    assert {rate[id(p)] for p in encoder.tokenizers.parameters()} == {0.125}
    assert rate[id(encoder.cls_token)] == rate[id(encoder.network_embedding)] == 0.125


def test_a_whitened_encoder_has_a_layer_for_every_parameter():
    encoder = build_encoder(replace(SPEC, whitened=True), seed=0)
    predictor = make_predictor(encoder, readout=("cls",), n_outputs=2, seed=0)
    groups = parameter_groups(predictor, depth=2, learning_rate=1.0, layer_decay=0.5)
    assert sum(len(group["params"]) for group in groups) == len(list(predictor.parameters()))


def test_a_parameter_of_no_known_layer_stops_the_run():
    predictor = predictor_of()
    predictor.encoder.register_parameter("surprise", torch.nn.Parameter(torch.zeros(1)))
    with pytest.raises(ValueError, match="surprise"):
        parameter_groups(predictor, depth=2, learning_rate=1.0, layer_decay=0.5)


# Readout


@pytest.mark.parametrize("words", [["networks"], ["networks", "brain:3"]])
@pytest.mark.parametrize("readout", [("mean", "cls"), ("networks",), ("networks", "mean")])
def test_features_are_those_of_the_filled_vector(values, readout, words):
    series = values[0, 0, :60].copy()
    series[:, network_columns("Cerebellum")] = np.nan
    # Short, so that patches are padded; and without a network.
    windows = window(ParcelSeries(values=series, tr_s=2.0, unit="robust"), InputSpec())
    encoder = build_encoder(replace(SPEC, groups=partition(words)), seed=0).eval()
    expected = embed_windows(windows, encoder, readout=readout).filled_vector()
    mask = windows.token_mask(encoder.spec.groups)
    x, masked = (torch.from_numpy(np.array(a)) for a in (windows.values, mask))
    with torch.inference_mode():
        ours = read_out(encoder(x, masked), masked, readout)
    predictor = make_predictor(encoder, readout=readout, n_outputs=2, seed=0).eval()
    assert predictor(x, masked).shape == (1, 2)
    np.testing.assert_allclose(ours[0].numpy(), expected, atol=1e-5)


# Training


def test_only_the_head_learns_in_the_frozen_epochs(parts, labels, monkeypatch):
    predictor = predictor_of()
    encoders, heads = [weights(predictor.encoder)], [weights(predictor.head)]

    def validate(model, *_, **__):
        encoders.append(weights(model.encoder))
        heads.append(weights(model.head))
        return {"validation_loss": 1.0, "validation_score": 0.5}

    monkeypatch.setattr(training, "_validate", validate)
    epochs = fit(predictor, parts, labels, epochs=3, frozen_epochs=2)
    assert [epoch.frozen for epoch in epochs] == [True, True, False]
    assert same(encoders[0], encoders[2])
    assert not same(encoders[2], encoders[3])
    assert not same(heads[0], heads[1])


def test_all_layers_learn_afterwards(parts, labels):
    predictor = predictor_of()
    before = weights(predictor.encoder)
    fit(predictor, parts, labels, epochs=2, frozen_epochs=0)
    moved = [name for name, value in weights(predictor.encoder).items()
             if not torch.equal(value, before[name])]  # fmt: skip
    unmoved = set(before) - set(moved)
    # The norms of the structured kernels are buffers; without a mask its token has no part,
    # but for its decay.
    assert all(name.endswith("kernel_norm") or name == "mask_token" for name in unmoved)


def test_the_best_state_is_restored_and_not_the_last(parts, labels, monkeypatch):
    predictor = predictor_of()
    scores = iter([0.5, 0.9, 0.6, 0.7])
    states = []

    def validate(model, *_, **__):
        states.append(weights(model))
        return {"validation_loss": 1.0, "validation_score": next(scores)}

    monkeypatch.setattr(training, "_validate", validate)
    epochs = fit(predictor, parts, labels, epochs=4, frozen_epochs=1, learning_rate=1e-2)
    assert best_of(epochs).epoch == 1
    assert same(states[1], weights(predictor))
    assert not same(states[1], states[3])


def test_training_stops_when_validation_has_not_improved_for_long(parts, labels, monkeypatch):
    def validate(*_, **__):
        return {"validation_loss": 1.0, "validation_score": 0.5}

    monkeypatch.setattr(training, "_validate", validate)
    epochs = fit(predictor_of(), parts, labels, epochs=20, frozen_epochs=3, patience=2)
    # The patience starts with the first epoch in which the encoder may learn.
    assert len(epochs) == 5


def test_the_last_state_is_kept_where_that_is_asked_for(parts, labels, monkeypatch):
    predictor, states = predictor_of(), []

    def validate(model, *_, **__):
        states.append(weights(model))
        return {"validation_loss": 1.0, "validation_score": -len(states)}

    monkeypatch.setattr(training, "_validate", validate)
    config = replace(CONFIG, keep="last", epochs=4, frozen_epochs=0, patience=1)
    epochs = fit(predictor, parts, labels, keep="last", epochs=4, frozen_epochs=0, patience=1)
    assert len(epochs) == 4
    assert training.kept(epochs, config).epoch == 3
    assert same(states[3], weights(predictor))


def test_biases_norms_and_layer_scales_are_spared_from_decay():
    predictor = predictor_of()
    groups = parameter_groups(predictor, depth=2, learning_rate=1.0, layer_decay=0.5)
    divided = training.without_decay(groups, predictor)
    spared = {id(p) for g in divided if g.get("weight_decay") == 0 for p in g["params"]}
    encoder = predictor.encoder
    block = encoder.blocks[0]
    assert {id(encoder.norm.weight), id(block.norm1.bias), id(block.mlp[0].bias)} < spared
    assert spared.isdisjoint({id(block.mlp[0].weight), id(predictor.head.linear.bias)})
    rate = {id(p): g["lr"] for g in groups for p in g["params"]}
    assert {id(p): g["lr"] for g in divided for p in g["params"]} == rate


def test_equal_scores_are_told_apart_by_the_loss():
    def epoch(number, score, loss):
        return training.Epoch(
            epoch=number, frozen=False, train_loss=0, validation_loss=loss, validation_score=score
        )

    assert best_of([epoch(0, 0.8, 0.5), epoch(1, 0.8, 0.4), epoch(2, 0.7, 0.1)]).epoch == 1


def test_a_loss_that_is_not_finite_stops_the_run(parts, labels):
    predictor = predictor_of()
    with torch.no_grad():
        predictor.head.linear.bias.fill_(float("nan"))
    with pytest.raises(ProbeError, match="the loss is nan"):
        fit(predictor, parts, labels)


def test_the_same_seed_trains_the_same_weights(parts, labels):
    first, again, other = predictor_of(), predictor_of(), predictor_of()
    for predictor, seed in ((first, 0), (again, 0), (other, 1)):
        fit(predictor, parts, labels, epochs=2, frozen_epochs=0, seed=seed)
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(other))


# Adapters


@needs_peft
def test_merged_adapters_compute_what_the_adapted_encoder_did(parts, labels):
    predictor = predictor_of()
    plain, names = weights(predictor.encoder), set(predictor.encoder.state_dict())
    handle = add_adapters(predictor.encoder, rank=2, seed=0)
    fit(predictor, parts, labels, epochs=3, frozen_epochs=0, learning_rate=1e-2)
    validation = parts[1]
    adapted = scores_of(predictor, validation.windows.values, validation.masked, batch_size=4)
    predictor.encoder = merge_adapters(handle)
    merged = scores_of(predictor, validation.windows.values, validation.masked, batch_size=4)
    np.testing.assert_allclose(merged, adapted, atol=1e-5)
    after = weights(predictor.encoder)
    assert set(after) == names
    changed = {name for name in names if not torch.equal(after[name], plain[name])}
    linear = ("attention.qkv.weight", "attention.proj.weight", "mlp.0.weight", "mlp.2.weight")
    assert changed == {f"blocks.{block}.{name}" for block in (0, 1) for name in linear}


@needs_peft
def test_adapters_leave_little_to_learn():
    predictor = predictor_of()
    add_adapters(predictor.encoder, rank=2, seed=0)
    learning = [name for name, p in predictor.encoder.named_parameters() if p.requires_grad]
    assert len(learning) == 2 * 4 * 2
    assert all(".lora_" in name for name in learning)


def test_without_the_library_adapters_are_refused_with_the_way_to_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(ConfigError, match="need the library peft"):
        require_library()
