"""The only door to the torch side: one encoder per process, loaded when it is first needed."""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bids_app.errors import OptionsError, ScanExcludedError
from model.errors import TooShortError
from model.files.home import checkpoint_place
from model.invocation import interrupts
from model.spec import bundled_folder, read_card

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from model.encoder import Encoder
    from model.series import EmbeddedSeries, ParcelSeries, ScanEmbedding, Windows
    from model.spec import CheckpointCard, InputSpec, Normalization

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedder:
    """A checkpoint, ready for the windows of any scan.

    It may be sent to another process, which loads the weights again.
    """

    checkpoint: Path
    """Folder with card and weights, or a published ``.pth``"""
    card: CheckpointCard
    device: str
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``"""
    batch_size: int

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder on its device; loads torch and the weights when first asked for."""
        import torch

        from model.checkpoint import load_encoder

        # Scans are spread over processes. With one thread each, how many there are changes
        # neither speed nor the order in which numbers are added up.
        torch.set_num_threads(1)
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
            log.debug("--device auto: using %s", device)
        return load_encoder(self.checkpoint, device=device, card=self.card)

    def check_length(self, name: str, *, n_frames: int, tr_s: float) -> None:
        """Exclude a scan that is shorter than one patch of the model, before any work on it.

        Raises
        ------
        ScanExcludedError
            It is.
        SeriesError
            A repetition time that cannot be one in seconds.
        """
        from model.preprocess import check_length

        with _excluding(name):
            check_length(n_frames, tr_s=tr_s, spec=self.card.input)

    def embed(
        self, name: str, series: ParcelSeries, *, normalization: Normalization | None
    ) -> EmbeddedSeries:
        """Take the denoised series of one scan to its embedding (`model.embed.embed_residual`).

        Parameters
        ----------
        name
            Of the scan, for messages.
        series
            (T, P) in unit ``residual``, at its own TR, with the frames that were kept.
        normalization
            None: as the checkpoint was trained.

        Raises
        ------
        ScanExcludedError
            The series is shorter than one patch of the model, before or after resampling.
        SeriesError
            No parcel or no network has a signal.
        CheckpointError
            The weights do not fit the card (found when they are loaded).
        """
        from model.embed import embed_residual

        with _excluding(name):
            return embed_residual(
                series, self.encoder, normalization=normalization, batch_size=self.batch_size
            )

    def embed_windows(self, windows: Windows) -> ScanEmbedding:
        """Embed windows that were cut in another way, such as of task blocks.

        Raises
        ------
        CheckpointError
            The weights do not fit the card (found when they are loaded).
        """
        from model.embed import embed_windows

        return embed_windows(windows, self.encoder, batch_size=self.batch_size)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the weights behind."""
        return {key: value for key, value in vars(self).items() if key != "encoder"}


@contextmanager
def _excluding(name: str) -> Iterator[None]:
    """Turn the model's "too short" into the exclusion of the scan."""
    try:
        yield
    except TooShortError as err:
        raise ScanExcludedError(f"{name}: {err}") from err


def open_embedder(checkpoint: Path | None, *, device: str, batch_size: int) -> Embedder:
    """Open a checkpoint (None: the bundled one) by its card; a ``.pth`` must be loaded for it.

    Raises
    ------
    OptionsError
        A GPU was asked for by name and is not there.
    CheckpointError
        The checkpoint is absent, damaged, or for another atlas.
    """
    _check_device(device)
    path = checkpoint_place(checkpoint) if checkpoint else bundled_folder()
    if path.suffix not in {".pth", ".pt"}:
        card = read_card(path)
        embedder = Embedder(checkpoint=path, card=card, device=device, batch_size=batch_size)
    else:
        embedder = _open_published(path, device=device, batch_size=batch_size)
    log.info("checkpoint %s %s", embedder.card.name, embedder.card.version)
    return embedder


def _open_published(path: Path, *, device: str, batch_size: int) -> Embedder:
    _load_torch()
    from model.checkpoint import import_published

    card = import_published(path, heads=None).own_card()
    return Embedder(checkpoint=path, card=card, device=device, batch_size=batch_size)


def _load_torch() -> None:
    """Load it with signals put off: what they raise there may abort the process, with its C++."""
    with interrupts.shielded():
        import torch  # noqa: F401


def import_weights(
    path: Path, folder: Path, *, heads: int | None, contract: InputSpec, **changes: str
) -> CheckpointCard:
    """Convert a published ``.pth`` into a folder (`model.checkpoint.convert_published`).

    Raises
    ------
    CheckpointError
        The file is no such checkpoint, takes other input, or the folder holds other things.
    ResultError
        The folder cannot be written.
    """
    _load_torch()
    from model.checkpoint import convert_published

    return convert_published(path, folder, heads=heads, contract=contract, **changes)


def names_gpu(device: str) -> bool:
    """Tell whether a device is a GPU by its name.

    Raises
    ------
    OptionsError
        It is none of the names.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise OptionsError(f"--device {device}: expected auto, cpu, cuda or cuda:N.")
    return device.startswith("cuda")


def _check_device(device: str) -> None:
    if not names_gpu(device):
        return
    _load_torch()
    import torch

    wanted = int(device.partition(":")[2] or 0)
    if wanted >= torch.cuda.device_count():
        raise OptionsError(
            f"--device {device}: expected CUDA device {wanted}, "
            f"found {torch.cuda.device_count()} device(s).",
            hint="Use --device cpu, or start the container with --gpus all (Apptainer: --nv).",
        )
