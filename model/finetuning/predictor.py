"""Encoder and head together: from windows to scores, saved and loaded as a folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from model.checkpoint import load_encoder, read_tensors, stored_tensors
from model.encoder import misfits
from model.errors import CheckpointError, ConfigError, some
from model.files.faults import faults_as
from model.files.read import read_json
from model.files.settings import Count, Strict, from_dict
from model.probing.head import WEIGHT_STD, LinearHead, make_head
from model.spec import ReadoutPart

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from model.encoder import Encoder
    from model.probing.samples import FloatArray
    from model.series import Windows

CHECKPOINT_FOLDER = "checkpoint"
HEAD_CARD = "head.json"
HEAD_WEIGHTS = "head.safetensors"
HIDDEN = (512, 512, 256)
"""Units of the published head of several layers"""
HIDDEN_STD = 0.02


@dataclass(frozen=True, kw_only=True)
class HeadCard(Strict):
    """What a head predicts, and from which encoder."""

    target: str
    task: str
    classes: tuple[str, ...]
    """In the order of the scores; empty in regression."""
    readout: tuple[ReadoutPart, ...]
    offset: float
    """Added to the scaled output in regression: mean of the training subjects; else 0."""
    spread: float
    """Their standard deviation; else 1."""
    encoder_sha256: str
    """Weights the head was trained with."""
    hidden: tuple[Count, ...] = ()
    """Units of each layer between the features and the scores."""


class MlpHead(nn.Module):
    """Layers of some units and GELU between features (B, F) and scores (B, K)."""

    def __init__(self, n_features: int, hidden: tuple[int, ...], n_outputs: int) -> None:
        super().__init__()
        sizes = (n_features, *hidden)
        layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
        for layer in layers:
            nn.init.trunc_normal_(layer.weight, std=HIDDEN_STD)
        self.hidden = nn.ModuleList(layers)
        self.linear = nn.Linear(sizes[-1], n_outputs)
        nn.init.trunc_normal_(self.linear.weight, std=WEIGHT_STD)
        self.n_outputs = n_outputs

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, F) to (B, K)."""
        for layer in self.hidden:
            features = functional.gelu(layer(features))
        scores: Tensor = self.linear(features)
        return scores


class Predictor(nn.Module):
    """Encoder, readout and head."""

    def __init__(
        self, encoder: Encoder, head: LinearHead | MlpHead, *, readout: tuple[ReadoutPart, ...]
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.readout = readout

    def forward(self, windows: Tensor, masked: Tensor, *, frozen: bool = False) -> Tensor:
        """Map windows (B, P, L) and token masks (B, N, K) to scores (B, outputs).

        ``frozen``: the encoder gets no gradient.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            features = read_out(self.encoder(windows, masked), masked, self.readout)
        scores: Tensor = self.head(features)
        return scores


def make_predictor(
    encoder: Encoder,
    *,
    readout: tuple[ReadoutPart, ...],
    n_outputs: int,
    seed: int,
    hidden: tuple[int, ...] = (),
) -> Predictor:
    """Put a new head on an encoder, with ``hidden`` units between features and scores."""
    n_parts = sum(len(encoder.spec.rows) if part == "networks" else 1 for part in readout)
    n_features = n_parts * encoder.spec.dim
    if not hidden:
        head: LinearHead | MlpHead = make_head(n_features, n_outputs, seed=seed)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            head = MlpHead(n_features, hidden, n_outputs)
    return Predictor(encoder, head, readout=readout)


def read_out(tokens: Tensor, masked: Tensor, readout: tuple[ReadoutPart, ...]) -> Tensor:
    """Join the parts of the readout: what `ScanEmbedding.filled_vector` does for one window.

    Parameters
    ----------
    tokens
        (B, 1 + N * K, D) as the encoder gives them.
    masked
        (B, N, K) true where a token saw no data.
    """
    grid = tokens[:, 1:].reshape(*masked.shape, -1)
    valid = ~masked
    # Of a missing network, what the encoder predicts at its masked tokens stands for it.
    shown = valid | ~valid.any(dim=2, keepdim=True)
    parts = {
        "mean": _weighted(grid.flatten(1, 2), valid.flatten(1, 2)),
        "cls": tokens[:, 0],
        "networks": _weighted(grid, shown).flatten(1),
    }
    return torch.cat([parts[part] for part in readout], dim=1)


def _weighted(tokens: Tensor, weights: Tensor) -> Tensor:
    """Average (..., K, D) over K with weights (..., K)."""
    total = (tokens * weights[..., None]).sum(dim=-2)
    return total / weights.sum(dim=-1, keepdim=True)


def scores_of(
    predictor: Predictor, windows: FloatArray, masked: npt.NDArray[np.bool_], *, batch_size: int
) -> FloatArray:
    """Score windows (W, P, L) with token masks (W, N, K) in batches, in eval mode."""
    predictor.eval()
    device = predictor.encoder.cls_token.device
    batches = []
    with torch.inference_mode():
        for start in range(0, len(windows), batch_size):
            part = slice(start, start + batch_size)
            x, mask = (torch.from_numpy(np.array(a[part])) for a in (windows, masked))
            batches.append(predictor(x.to(device), mask.to(device)).cpu().numpy())
    return np.concatenate(batches)


def save_head(folder: Path, predictor: Predictor, card: HeadCard) -> None:
    """Write the head's card and weights into a folder."""
    save_file(predictor.head.state_dict(), folder / HEAD_WEIGHTS)
    (folder / HEAD_CARD).write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")


def load_predictor(folder: Path, *, device: str = "cpu") -> tuple[Predictor, HeadCard]:
    """Load what a fine-tuning run left: encoder, head and card, in eval mode.

    Raises
    ------
    CheckpointError
        A file is absent or damaged, or head and encoder are of different runs.
    """
    encoder = load_encoder(folder / CHECKPOINT_FOLDER, device=device)
    with faults_as(CheckpointError, where=str(folder), what="no readable head"):
        values = read_json(folder / HEAD_CARD)
    try:
        card = from_dict(HeadCard, values, where=str(folder / HEAD_CARD))
    except ConfigError as err:
        raise CheckpointError(err.message, hint=err.hint) from err
    predictor = make_predictor(
        encoder,
        readout=card.readout,
        n_outputs=max(1, len(card.classes)),
        seed=0,
        hidden=card.hidden,
    )
    head = predictor.head.state_dict()
    if problems := misfits(stored_tensors(folder / HEAD_WEIGHTS), head):
        raise CheckpointError(
            f"{folder / HEAD_WEIGHTS}: {len(problems)} tensors do not fit the head: "
            f"{some(problems, separator='; ')}."
        )
    read_tensors(folder / HEAD_WEIGHTS, head)
    if encoder.own_card().weights_sha256 != card.encoder_sha256:
        raise CheckpointError(f"{folder}: head and encoder are of different runs.")
    predictor.to(encoder.cls_token.device)
    return predictor.requires_grad_(requires_grad=False).eval(), card


def predict(predictor: Predictor, card: HeadCard, windows: Windows) -> npt.NDArray[np.float64]:
    """Score the windows of one scan (`model.preprocess.window`), averaged.

    Returns
    -------
    (K,) score of each of ``card.classes``, or (1,) the predicted number.
    """
    masked = windows.token_mask(predictor.encoder.spec.groups)
    scores = scores_of(predictor, windows.values, masked, batch_size=8)
    return np.asarray(scores.mean(axis=0) * card.spread + card.offset, np.float64)
