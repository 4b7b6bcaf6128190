"""Encoders of other partitions: rows are their groups', whatever the order, size and overlap."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import make_checkpoint

from model.checkpoint import load_encoder
from model.embed import embed_windows
from model.encoder import Encoder, build_encoder
from model.errors import CheckpointError, SeriesError
from model.evaluation.encoded import encode
from model.partition.groups import Group
from model.partition.named import partition
from model.preprocess import window
from model.series import ParcelSeries, Windows
from model.spec import CARD, EncoderSpec, InputSpec
from model.statistics.pairing import Key

GROUPS = (
    Group("Some", tuple(range(0, 60, 2))),
    Group("One", (7,)),
    Group("Brain", tuple(range(457)), 2),
    Group("Deep", tuple(range(400, 457))),
)
SPEC = EncoderSpec(dim=16, depth=2, heads=2, groups=GROUPS)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return build_encoder(SPEC, seed=1).eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(3, 457, 100, generator=torch.Generator().manual_seed(2))


def cut(missing: slice | list[int] = slice(0)) -> Windows:
    values = np.random.default_rng(0).normal(size=(150, 457)).astype(np.float32)
    values[:, missing] = np.nan
    series = ParcelSeries(values=values, tr_s=2.0, unit="robust")
    return window(series, InputSpec())


def test_rows_are_those_of_the_groups(encoder, x) -> None:
    assert SPEC.rows == ("Some", "One", "Brain1", "Brain2", "Deep")
    assert encoder(x).shape == (3, 1 + 5 * 5, 16)
    assert encoder.network_embedding.shape == (5, 16)


@pytest.mark.parametrize(
    ("parcel", "rows"),
    [(0, {"Some", "Brain1", "Brain2"}), (7, {"One", "Brain1", "Brain2"}),
     (450, {"Brain1", "Brain2", "Deep"}), (399, {"Brain1", "Brain2"})],
)  # fmt: skip
def test_a_parcel_reaches_the_rows_that_hold_it(encoder, x, parcel, rows) -> None:
    changed = x.clone()
    changed[:, parcel] += 1
    differs = (encoder.tokenize(changed) - encoder.tokenize(x)).abs().amax(dim=(0, 2, 3)) > 1e-4
    assert {r for r, d in zip(SPEC.rows, differs, strict=True) if d} == rows


def test_tokens_of_one_group_have_weights_of_their_own(encoder, x) -> None:
    tokens = encoder.tokenize(x)
    assert (tokens[:, 2] - tokens[:, 3]).abs().max() > 0.1


def in_order(encoder: Encoder, order: list[int]) -> Encoder:
    """Put an encoder's groups, each of one token, into another order."""
    groups = tuple(encoder.spec.groups[i] for i in order)
    moved = build_encoder(replace(encoder.spec, groups=groups), seed=0).eval()
    state = {k: v for k, v in encoder.state_dict().items() if not k.startswith("tokenizers.")}
    for new, old in enumerate(order):
        of_row = encoder.tokenizers[old].state_dict().items()
        state |= {f"tokenizers.{new}.{key}": value for key, value in of_row}
    state["network_embedding"] = encoder.network_embedding[order]
    for key in ("whitening.mean", "whitening.matrix"):
        if key in state:
            state[key] = state[key][order]
    moved.load_state_dict(state)
    return moved


@pytest.mark.parametrize("whitened", [False, True])
def test_permuting_groups_permutes_rows(x, whitened) -> None:
    groups = tuple(replace(g, tokens=1) for g in GROUPS)
    encoder = build_encoder(replace(SPEC, groups=groups, whitened=whitened), seed=3).eval()
    if whitened:
        torch.nn.init.normal_(encoder.whitening.matrix, generator=torch.Generator().manual_seed(0))
    order = [2, 0, 3, 1]
    mask = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(1)) < 0.4
    with torch.inference_mode():
        here = encoder(x, mask)
        there = in_order(encoder, order)(x, mask[:, order])
    torch.testing.assert_close(there[:, 0], here[:, 0], rtol=0, atol=2e-5)
    grids = [t[:, 1:].view(3, 4, 5, 16) for t in (here, there)]
    torch.testing.assert_close(grids[1], grids[0][:, order], rtol=0, atol=2e-4)


def test_a_masked_row_tells_nothing(encoder, x) -> None:
    mask = torch.zeros(3, 5, 5, dtype=torch.bool)
    mask[:, 1:4] = True  # all rows that hold parcel 7
    changed = x.clone()
    changed[:, 7] += 5
    assert torch.equal(encoder(changed, mask), encoder(x, mask))
    mask[:, 3] = False
    assert not torch.equal(encoder(changed, mask), encoder(x, mask))


def test_a_mask_of_other_rows_is_refused(encoder, x) -> None:
    with pytest.raises(SeriesError, match=r"expected a mask of bool \(3, 5, 5\)"):
        encoder(x, torch.zeros(3, 9, 5, dtype=torch.bool))


@pytest.mark.parametrize(
    ("missing", "gone"),
    [
        ([7], ("One",)),
        (slice(0, 60), ("Some", "One")),
        (slice(0, 300), ("Some", "One", "Brain1", "Brain2")),
        (slice(430, 457), ()),
        (slice(400, 457), ("Deep",)),
    ],
)
def test_what_is_missing_is_masked_at_every_scale(encoder, missing, gone) -> None:
    embedding = embed_windows(cut(missing), encoder, readout=("networks",))
    assert embedding.missing_networks == gone
    nan = np.isnan(embedding.networks).all(axis=(0, 2))
    assert tuple(np.array(SPEC.rows)[nan]) == gone
    assert np.isfinite(embedding.filled_vector()).all()


def test_readouts_of_several_scans_have_the_rows_that_all_have(encoder) -> None:
    keys = [Key(subject=s, session="1") for s in ("a", "b")]
    vectors = encode(keys, [cut(), cut([7])], encoder)["scan"].sets
    assert vectors["networks"].shape == (2, 4 * 16)
    assert vectors["mean + cls"].shape == (2, 32)


def test_windows_without_any_row_are_refused_by_the_groups_names(encoder) -> None:
    with pytest.raises(SeriesError, match="hold no data in any of Some, One, Brain x 2, Deep"):
        embed_windows(cut(slice(0, 450)), encoder, readout=("networks",))


@pytest.mark.parametrize(
    "words", [["networks", "brain:7"], ["brain"], ["components"], ["networks"]]
)
def test_a_checkpoint_keeps_its_groups(tmp_path, words) -> None:
    spec = replace(SPEC, groups=partition(words))
    encoder = build_encoder(spec, seed=2).eval()
    loaded = load_encoder(make_checkpoint(tmp_path / "c", encoder))
    assert loaded.spec == spec
    assert ("groups" in json.loads((tmp_path / "c" / CARD).read_text())["encoder"]) == (
        words != ["networks"]
    )
    ours, theirs = (embed_windows(cut(), e, readout=("networks",)) for e in (encoder, loaded))
    np.testing.assert_array_equal(ours.tokens, theirs.tokens)
    assert theirs.rows == spec.rows


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        (
            None,
            r"another partition than the nine networks: 9 rows of tokens \(the weights have 5\)",
        ),
        (GROUPS[::-1], r"Deep 57 parcels \(the weights have 30\)"),
        ((*GROUPS, Group("More", (1,))), r"6 rows of tokens \(the weights have 5\)"),
    ],
)
def test_weights_of_another_partition_than_the_card_s_are_refused(
    tmp_path, encoder, groups, told
) -> None:
    folder = make_checkpoint(tmp_path / "c", encoder)
    card = json.loads((folder / CARD).read_text())
    if groups is None:
        del card["encoder"]["groups"]
    else:
        card["encoder"]["groups"] = [g.to_dict() for g in groups]
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match=told):
        load_encoder(folder)
