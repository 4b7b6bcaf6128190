"""A published-format file of the released configuration: nearly 1,000 tensors, 510 MB."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch

from model.encoder import sincos
from model.networks import NETWORKS, network_columns

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc"),
]

DIM, HALF, MLP, DEPTH = 768, 384, 3072, 8
TEACHER_BYTES = 4 * 62_767_020
# What Python, allocator and one tensor's copy may take beside the weights.
ALLOWANCE_BYTES = 60e6

# ru_maxrss would count what the process that forked this one held.
PEAK = """
import json, re, sys, time
from pathlib import Path
import torch, model.checkpoint, model.cli.app
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
before, started = peak(), time.perf_counter()
"""
IMPORT = f"""{PEAK}
encoder = model.checkpoint.load_encoder(sys.argv[1])
print(json.dumps({{
    "seconds": round(time.perf_counter() - started, 2),
    "bytes": peak() - before,
    "dropped": encoder.card.dropped_keys,
    "parameters": sum(p.numel() for p in encoder.parameters()),
    "spec": encoder.spec.to_dict(),
}}))
"""
CONVERT = f"""{PEAK}
model.cli.app.main(["import-checkpoint", *sys.argv[1:]], standalone_mode=False)
print(json.dumps({{"seconds": round(time.perf_counter() - started, 2), "bytes": peak() - before}}))
"""


def run(program: str, *arguments: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def tokenizer(prefix: str, n_parcels: int) -> dict[str, torch.Tensor]:
    heads = math.ceil(HALF / n_parcels)
    conv = f"{prefix}branches.1."
    return {
        f"{prefix}branches.0.weight": torch.randn(HALF, n_parcels, 3),
        f"{prefix}branches.0.bias": torch.randn(HALF),
        f"{conv}slconv.D": torch.randn(heads, n_parcels),
        **{f"{conv}slconv.kernel_list.{i}": torch.randn(heads, n_parcels, 4) for i in range(3)},
        f"{conv}slconv.multiplier": torch.full((1, n_parcels, 1), 2.0),
        f"{conv}slconv.kernel_norm": torch.rand(heads, n_parcels, 1) + 1,
        f"{conv}slconv.kernel_norm_initialized": torch.tensor(data=True),
        f"{conv}projection.weight": torch.randn(HALF, heads * n_parcels),
        f"{conv}projection.bias": torch.randn(HALF),
        f"{prefix}norm.weight": torch.randn(DIM),
        f"{prefix}norm.bias": torch.randn(DIM),
    }


def block(prefix: str) -> dict[str, torch.Tensor]:
    shapes = {
        "norm1.weight": (DIM,),
        "norm1.bias": (DIM,),
        "attn.qkv.weight": (3 * DIM, DIM),
        "attn.proj.weight": (DIM, DIM),
        "attn.proj.bias": (DIM,),
        "norm2.weight": (DIM,),
        "norm2.bias": (DIM,),
        "mlp.0.weight": (MLP, DIM),
        "mlp.0.bias": (MLP,),
        "mlp.3.weight": (DIM, MLP),
        "mlp.3.bias": (DIM,),
        "ls1.gamma": (DIM,),
        "ls2.gamma": (DIM,),
    }
    return {f"{prefix}{name}": torch.randn(shape) for name, shape in shapes.items()}


def encoder_state() -> dict[str, torch.Tensor]:
    state = {}
    for copy in ("schaefer400", "tian3", "buckner7"):
        for i, network in enumerate(NETWORKS):
            n_parcels = len(network_columns(network))
            state |= tokenizer(f"network_tokenizers.{copy}.{i}.", n_parcels)
    inter = "inter_network_transformer."
    state |= {
        f"{inter}mask_embedding": torch.randn(1, DIM),
        f"{inter}cls_token": torch.randn(1, 1, DIM),
        f"{inter}temporal_pos_embedding": sincos(5, DIM),
        f"{inter}network_learnable_pos_embedding.weight": torch.randn(9, DIM),
        f"{inter}norm.weight": torch.randn(DIM),
        f"{inter}norm.bias": torch.randn(DIM),
    }
    for i in range(DEPTH):
        state |= block(f"{inter}transformer_blocks.{i}.")
    return state | {"norm.weight": torch.randn(DIM), "norm.bias": torch.randn(DIM)}


def predictor_state() -> dict[str, torch.Tensor]:
    shapes = {
        "0.weight": (1024, DIM),
        "0.bias": (1024,),
        "2.weight": (128, 1024),
        "2.bias": (128,),
    }
    return {f"mlp.{name}": torch.randn(shape) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    whole = {}
    for who in ("student", "teacher"):
        whole |= {f"{who}_encoder.{k}": v for k, v in encoder_state().items()}
        predictor = predictor_state()
        for name in ("predictor", "mask_predictor"):
            whole |= {f"{who}_{name}.{k}": v for k, v in predictor.items()}
    return whole


@pytest.fixture(scope="module")
def imported(state, tmp_path_factory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("released") / "brainsemantoks_ckpt_epoch_100.pth"
    torch.save({"model_state_dict": state, "epoch": 99}, path)
    return {"path": path, **run(IMPORT, path)}


def test_the_file_is_of_the_released_size(state):
    teacher = {k: v for k, v in state.items() if k.startswith("teacher_encoder.")}
    buffers = ("multiplier", "kernel_norm", "kernel_norm_initialized", "temporal_pos_embedding")
    stored = {k: v for k, v in teacher.items() if not k.endswith(buffers)}
    assert len(state) == 942
    assert len(teacher) == 463
    assert sum(v.numel() for v in teacher.values()) == 62_767_020
    assert sum(v.numel() for v in stored.values()) == 62_750_697


def test_it_is_imported_whole(imported):
    assert imported["parameters"] == 58_720_931
    assert imported["spec"]["dim"] == 768
    assert imported["spec"]["heads"] == 12
    assert imported["spec"]["depth"] == 8


def test_the_card_names_what_was_dropped(imported, state):
    teacher = [k for k in state if k.startswith("teacher_encoder.")]
    dead = {k for k in teacher if ".tian3." in k or ".buckner7." in k or "transformer.norm." in k}
    others = {"student_encoder.*", "student_predictor.*", "teacher_predictor.*"}
    others |= {"student_mask_predictor.*", "teacher_mask_predictor.*"}
    assert set(imported["dropped"]) == dead | others
    assert len(dead) == 2 * 9 * 13 + 2


def test_importing_takes_little_more_memory_than_its_teacher(imported):
    assert imported["bytes"] < TEACHER_BYTES + ALLOWANCE_BYTES


def test_converting_takes_little_more_memory_than_its_teacher(imported, tmp_path):
    converted = run(CONVERT, imported["path"], tmp_path / "out")
    assert converted["bytes"] < TEACHER_BYTES + ALLOWANCE_BYTES
    assert (tmp_path / "out/weights.safetensors").stat().st_size < TEACHER_BYTES
    folder = run(IMPORT, tmp_path / "out")
    assert folder["bytes"] < 1.02 * imported["bytes"]
