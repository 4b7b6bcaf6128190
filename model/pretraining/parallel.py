"""Processes that train together: who does what, and how all see the whole batch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed

from model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

from contextlib import contextmanager


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes of a run; one, unless ``torchrun`` started more."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def pieces(self, n_pieces: int) -> range:
        """Return this process's share of a batch's pieces.

        Raises
        ------
        ConfigError
            They cannot be shared out evenly.
        """
        if n_pieces % self.size:
            raise ConfigError(
                f"run.micro_batches {n_pieces} cannot be shared by {self.size} processes.",
                hint=f"Use a multiple: --set run.micro_batches={self.size}.",
            )
        share = n_pieces // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    def gather(self, tensor: Tensor) -> Tensor:
        """Join (V, B, ...) of all processes along the subjects; gradients reach the own part.

        Every process computes the same loss of the joined tensor. What the others' losses
        would send back is therefore equal to the own gradient: `scale` stands for it.
        """
        if self.size == 1:
            return tensor
        own = tensor.detach().contiguous()
        parts = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(parts, own)
        parts[self.rank] = tensor
        return torch.cat(parts, dim=1)

    @property
    def scale(self) -> int:
        """Factor of the loss that makes up for DDP's mean of gradients over processes."""
        return self.size

    def wait(self) -> None:
        """Wait for the others."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def assemble(device: str) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` started, or be alone; leave in the end.

    Parameters
    ----------
    device
        ``auto``, ``cpu`` or ``cuda``; of several processes each takes a GPU of its own.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    chosen = _device(device, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
    if size == 1:
        yield Processes(device=chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Processes(device=chosen, rank=rank, size=size)
    finally:
        distributed.destroy_process_group()


def _device(name: str, *, local_rank: int) -> torch.device:
    n_gpus = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and n_gpus == 0):
        return torch.device("cpu")
    if name not in ("auto", "cuda"):
        raise ConfigError(f"--device {name}: expected auto, cpu or cuda.")
    if local_rank >= n_gpus:
        raise ConfigError(
            f"expected a GPU for process {local_rank} of this machine, found {n_gpus}.",
            hint="Start no more processes than there are GPUs, or use --device cpu.",
        )
    return torch.device("cuda", local_rank)
