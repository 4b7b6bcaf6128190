"""The encoder as a model of brainmarks, the evaluation suite: whole scans in, frozen weights.

Nothing of brainmarks is imported here; ``brainmarks/models/semantoks.py``, which its registry
finds, does that (docs/brainmarks.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from model.embed import embed_many_windows
from model.errors import SeriesError
from model.preprocess import to_windows
from model.series import ParcelSeries, Windows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model.encoder import Encoder
    from model.spec import InputSpec

SPACE = "schaefer400_tians3_buckner7"
"""Name in brainmarks of our 457 parcels in our order"""
MAX_WINDOWS = 8
"""A batch holds as many windows of every scan; 8 are fifteen minutes."""


class ScanTransform:
    """Turn a sample of brainmarks into the windows of its whole scan.

    Parameters
    ----------
    spec
        What the checkpoint expects.
    max_windows
        Windows that a sample has place for.
    """

    def __init__(self, spec: InputSpec, *, max_windows: int = MAX_WINDOWS) -> None:
        self.spec = spec
        self.max_windows = max_windows

    def __call__(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Despike, resample, normalize and cut one scan.

        Parameters
        ----------
        sample
            ``bold`` (T, 457) in any unit, constant where a parcel is missing, and ``tr`` in
            seconds. ``target`` is passed on; the rest is left out.

        Raises
        ------
        SeriesError
            The scan has more windows than there is place for, or no signal.
        """
        bold = np.asarray(sample["bold"], dtype=np.float32)
        series = ParcelSeries(values=bold, tr_s=float(sample["tr"]), unit="residual")
        _, windows = to_windows(series, self.spec, continue_short=True)
        n_windows = len(windows.values)
        if n_windows > self.max_windows:
            raise SeriesError(
                f"a scan of {len(bold)} frames at TR {series.tr_s:g} s has {n_windows} windows; "
                f"expected at most {self.max_windows}.",
                hint=f"Set model_kwargs.max_windows={n_windows}.",
            )
        spare = (0, self.max_windows - n_windows)
        made = {
            "values": np.pad(windows.values, (spare, (0, 0), (0, 0))),
            "valid": np.pad(windows.valid, (spare, (0, 0))),
            "missing": np.array(windows.missing),
            "n_windows": n_windows,
        }
        return made | {key: sample[key] for key in ("target",) if key in sample}


class ScanEncoder(nn.Module):
    """Embed whole scans with an encoder that is not trained.

    Parameters
    ----------
    encoder
        With its card, as from `model.checkpoint.load_encoder`.
    spec
        As given to `ScanTransform`.
    """

    __space__ = SPACE

    def __init__(self, encoder: Encoder, spec: InputSpec) -> None:
        super().__init__()
        self.encoder = encoder
        self.spec = spec

    def train(self, mode: bool = True) -> ScanEncoder:  # noqa: FBT001, FBT002 torch's signature
        """Leave the encoder in eval mode: it stays as it was trained."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, None, Tensor]:
        """Embed a batch of samples of `ScanTransform`.

        Returns
        -------
        The scan vector that the card names (B, 1, R); no registers; and the grid's tokens,
        averaged over the windows of each scan (B, 9 * 5, D). Of a missing network, in both,
        what the encoder predicts there (`ScanEmbedding.filled_vector`): the suite takes no NaN.
        """
        arrays = {name: tensor.cpu().numpy() for name, tensor in batch.items()}
        scans = [
            Windows(
                values=arrays["values"][i, :n],
                valid=arrays["valid"][i, :n],
                start_s=np.zeros(n),
                missing=arrays["missing"][i],
                spec=self.spec,
            )
            for i, n in enumerate(arrays["n_windows"])
        ]
        found = embed_many_windows(scans, self.encoder)
        vectors = np.stack([scan.filled_vector() for scan in found])
        grids = np.stack(
            [np.average(scan.tokens, axis=0, weights=scan.valid_fraction) for scan in found]
        )
        device = self.encoder.cls_token.device
        patches = torch.from_numpy(grids.astype(np.float32)).flatten(1, 2).to(device)
        return torch.from_numpy(vectors)[:, None].to(device), None, patches
