"""Windows per second of the encoder: against the published structure, by batch size and by means.

Everything is timed in turns, repetition by repetition, so that a busy machine slows all alike;
ratios are medians over the repetitions of the time of one to the time of the other beside it.
With one thread on a CPU the time is that of the processor, without waiting for others' programs.
Prints a table and one line of JSON; docs/encoder.md has the conclusions. Usage::

    python benchmarks/encoder.py {small,released} [--threads N] [--rounds N] [--device cuda]
        [--part structure|batch|means|train]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from published_structure import published_structure

from model.embed import embed_many_windows, embed_windows
from model.encoder import Encoder, build_encoder
from model.series import Windows
from model.spec import EncoderSpec, InputSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BATCHES = (1, 2, 4, 8, 16, 32, 64)
COMPARED = (8, 16, 32)
"""Batch sizes at which the two structures are compared, each with the same."""
SCANS, WINDOWS_PER_SCAN = 16, 5
"""A scan of ten minutes has five windows."""

Timed = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("configuration", choices=["small", "released"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--part", choices=list(PARTS), default="structure")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    encoder = _small() if options.configuration == "small" else _released()
    encoder.to(options.device)
    rows = PARTS[options.part](encoder, options.rounds)
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    about = {key: getattr(options, key) for key in ("configuration", "threads", "device", "part")}
    print(json.dumps({"benchmark": "encoder", **about, "rows": rows}))


def _small() -> Encoder:
    """Build the published architecture in the size of the bundled checkpoint."""
    spec = EncoderSpec(dim=256, depth=2, heads=4)
    return build_encoder(spec, seed=0).eval().requires_grad_(requires_grad=False)


def _released() -> Encoder:
    return build_encoder(EncoderSpec(), seed=0).eval().requires_grad_(requires_grad=False)


def compare_structures(encoder: Encoder, rounds: int) -> list[dict[str, object]]:
    """Time the encoder and the published structure at equal batches."""
    structure, rows = published_structure(encoder), []
    for size in COMPARED:
        x, mask = _input(encoder, size)
        calls = {
            "encoder": partial(encoder, x, mask),
            "published": partial(structure, x, mask),
            "tokenizer": partial(encoder.tokenize, x),
            "published_tokenizer": partial(structure.tokenize, x),
        }
        with torch.inference_mode():
            difference = (calls["encoder"]() - calls["published"]()).abs().max().item()
            times = _times(calls, rounds, encoder)
        rows.append(
            {
                "batch": size,
                "windows_per_s": _rate(times["encoder"], size),
                "published_per_s": _rate(times["published"], size),
                "ratio": _ratio(times, "published", "encoder"),
                "tokenizer_ratio": _ratio(times, "published_tokenizer", "tokenizer"),
                "difference": f"{difference:.1e}",
            }
        )
    return rows


def compare_batches(encoder: Encoder, rounds: int) -> list[dict[str, object]]:
    """Time batch sizes, then scans that share batches against scans that do not."""
    calls = {str(size): partial(encoder, *_input(encoder, size)) for size in BATCHES}
    with torch.inference_mode():
        times = _times(calls, rounds, encoder)
    rows: list[dict[str, object]] = [
        {"batch": size, "windows_per_s": _rate(times[str(size)], size)} for size in BATCHES
    ]
    scans = [_windows(seed) for seed in range(SCANS)]
    embed = {"encoder": encoder, "readout": ("mean",)}
    shared = {
        "alone": lambda: [embed_windows(scan, **embed) for scan in scans],
        **{
            f"shared {size}": partial(embed_many_windows, scans, **embed, batch_size=size)
            for size in (8, 16, 32)
        },
    }
    times = _times(shared, rounds, encoder)
    n_windows = SCANS * WINDOWS_PER_SCAN
    return rows + [
        {"scans": name, "windows_per_s": _rate(t, n_windows)} for name, t in times.items()
    ]


def compare_means(encoder: Encoder, rounds: int) -> list[dict[str, object]]:
    """Time what each means brings, and how far its tokens are from those without it."""
    x, mask = _input(encoder, 16)
    device = x.device.type
    compiled = torch.compile(encoder)

    def bf16() -> torch.Tensor:
        with torch.autocast(device, dtype=torch.bfloat16):
            return encoder(x, mask).float()

    def unfused() -> torch.Tensor:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return encoder(x, mask)

    calls = {
        "encoder": partial(encoder, x, mask),
        "unfused attention": unfused,
        "torch.compile": partial(compiled, x, mask),
        "bf16": bf16,
    }
    rows = []
    with torch.inference_mode():
        tokens = calls["encoder"]()
        started = time.perf_counter()
        calls["torch.compile"]()
        compiling_s = time.perf_counter() - started
        times = _times(calls, rounds, encoder)
        for name, call in calls.items():
            error = (call() - tokens).abs().max() / tokens.abs().max()
            cosine = nn.functional.cosine_similarity(call()[:, 1:].mean(1), tokens[:, 1:].mean(1))
            rows.append(
                {
                    "means": name,
                    "windows_per_s": _rate(times[name], len(x)),
                    "speed": _ratio(times, "encoder", name),
                    "largest_error": f"{error.item():.1e}",
                    "lowest_cosine": f"{1 - cosine.min().item():.1e} below 1",
                }
            )
    return [*rows, {"compiling_s": round(compiling_s, 1)}]


def compare_training(encoder: Encoder, rounds: int) -> list[dict[str, object]]:
    """Time forward and backward pass of both structures."""
    device = encoder.cls_token.device
    encoder = build_encoder(replace(encoder.spec, whitened=False), seed=0).to(device)
    structure, rows = published_structure(encoder), []

    def step(network: nn.Module, x: torch.Tensor, mask: torch.Tensor) -> None:
        network.zero_grad()
        network(x, mask).square().mean().backward()

    for size in COMPARED:
        x, mask = _input(encoder, size)
        mask = torch.rand(mask.shape, device=x.device) < 0.5
        calls = {
            "encoder": partial(step, encoder, x, mask),
            "published": partial(step, structure, x, mask),
        }
        times = _times(calls, rounds, encoder)
        rows.append(
            {
                "batch": size,
                "windows_per_s": _rate(times["encoder"], size),
                "published_per_s": _rate(times["published"], size),
                "ratio": _ratio(times, "published", "encoder"),
            }
        )
    return rows


PARTS = {
    "structure": compare_structures,
    "batch": compare_batches,
    "means": compare_means,
    "train": compare_training,
}


def _input(encoder: Encoder, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    device = encoder.cls_token.device
    x = torch.randn(size, 457, 100, generator=torch.Generator().manual_seed(size))
    return x.to(device), torch.zeros(size, 9, 5, dtype=torch.bool, device=device)


def _windows(seed: int) -> Windows:
    values = np.random.default_rng(seed).standard_normal((WINDOWS_PER_SCAN, 457, 100))
    return Windows(
        values=values,
        valid=np.ones((WINDOWS_PER_SCAN, 100), dtype=bool),
        start_s=np.zeros(WINDOWS_PER_SCAN),
        missing=np.zeros(457, dtype=bool),
        spec=InputSpec(),
    )


def _times(calls: Mapping[str, Callable[[], object]], rounds: int, encoder: Encoder) -> Timed:
    """Time each call once per round after one round of warming up; seconds."""
    times: Timed = {name: [] for name in calls}
    on_gpu = encoder.cls_token.is_cuda
    alone = not on_gpu and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    for turn in range(rounds + 1):
        for name, call in calls.items():
            started = clock()
            call()
            if on_gpu:
                torch.cuda.synchronize()
            if turn:
                times[name].append(clock() - started)
    return times


def _rate(times: list[float], n_windows: int) -> float:
    """Return windows per second of the fastest round."""
    return round(n_windows / min(times), 1)


def _ratio(times: Timed, slow: str, fast: str) -> float:
    pairs = zip(times[slow], times[fast], strict=True)
    return round(statistics.median(a / b for a, b in pairs), 2)


if __name__ == "__main__":
    main()
