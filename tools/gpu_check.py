"""What only a GPU can show, in one go: it equals the CPU, training survives, and how fast it is.

    python tools/gpu_check.py [--device cuda] [--quick] [--json FILE]

Run in the checkout; needs torch with CUDA, numpy, scipy, h5py, click, safetensors, matplotlib
and pytest with hypothesis, nothing else of ours installed. Each check says what was promised (the
page that promises it is named) and what was found; the exit code is 1 if one did not hold. Times
are printed, not judged. `--quick` leaves the times out; `--device cpu` tries the script itself.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from model.checkpoint import load_encoder  # noqa: E402
from model.embed import embed_windows  # noqa: E402
from model.series import Windows  # noqa: E402
from model.spec import InputSpec  # noqa: E402

PRETRAIN = [sys.executable, "-c", "from model.cli.app import main; main()", "pretrain", "tiny"]
RESUME = [*PRETRAIN[:-2], "resume"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
TORCHRUN += ["--no-python"]
SECONDS_PER_COMMAND = 240

Found = list[dict[str, object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    name = torch.cuda.get_device_name() if options.device.startswith("cuda") else "this CPU"
    print(f"{name}, torch {torch.__version__}")
    checks = [marked_tests, embedding, same_steps, pieces_and_processes, killed_and_resumed]
    found: Found = []
    for check in checks if options.quick else [*checks, speed]:
        began = time.monotonic()
        try:
            rows = check(options.device)
        except Exception as err:  # noqa: BLE001 the other checks go on
            rows = [row(check.__name__, f"{type(err).__name__}: {err}", holds=False)]
        for one in rows:
            print("; ".join(f"{key} {value}" for key, value in one.items()), flush=True)
        print(f"    {check.__name__}: {time.monotonic() - began:.0f} s", flush=True)
        found += rows
    if options.json:
        options.json.write_text(json.dumps({"device": name, "found": found}, indent=1))
    sys.exit(any(one.get("holds") is False for one in found))


def row(check: str, found: object, *, holds: bool | None = None) -> dict[str, object]:
    return {"check": check, "found": found} | ({} if holds is None else {"holds": holds})


def run(words: list[str], **extra: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **extra}
    done = subprocess.run(
        words,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS_PER_COMMAND,
        check=False,
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-12:]
        raise RuntimeError(f"{' '.join(words[-6:])} ended with {done.returncode}: {last}")
    return done


def marked_tests(device: str) -> Found:
    """Tests marked ``gpu``."""
    if device == "cpu":
        return [row("tests marked gpu", "left out on a CPU")]
    files = ["tests/unit/core/test_embed.py", "tests/end_to_end/test_parallel_training.py"]
    # The conftests build images, for which not all is installed where the GPU is.
    options = ["--noconftest", "-W", "default", "-p", "no:cacheprovider"]
    done = run([sys.executable, "-m", "pytest", "-q", "-m", "gpu", *options, *files])
    return [row("tests marked gpu", done.stdout.strip().splitlines()[-1], holds=True)]


def embedding(device: str) -> Found:
    """Tokens of the bundled weights against the CPU's (docs/encoder.md, "Precision")."""
    rng, spec = np.random.default_rng(0), InputSpec()
    values = rng.standard_normal((32, 457, spec.window_samples)).astype(np.float32)
    windows = Windows(
        values=values,
        valid=np.ones((32, spec.window_samples), dtype=bool),
        start_s=np.arange(32.0),
        missing=np.zeros(457, dtype=bool),
        spec=spec,
    )
    encoder = load_encoder()
    expected = embed_windows(windows, encoder).tokens
    encoder.to(device)
    rows = []
    for name, tf32, precision, limit in (
        ("float32", False, "fp32", 1e-5),
        ("float32, TF32 allowed", True, "fp32", None),
        ("bfloat16", False, "bf16", 0.03),
    ):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        tokens = embed_windows(windows, encoder, precision=precision).tokens
        error = float(np.abs(tokens - expected).max() / np.abs(expected).max())
        means = [part.mean(axis=(1, 2)) for part in (tokens, expected)]
        norms = np.linalg.norm(means, axis=-1)
        cosine = float(((means[0] * means[1]).sum(axis=-1) / norms.prod(axis=0)).min())
        text = f"largest error {error:.2g} of the largest channel, least cosine {cosine:.7f}"
        rows.append(row(f"tokens, {name}", text, holds=None if limit is None else error < limit))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return rows


def losses(out: Path) -> np.ndarray:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return np.array([line["total"] for line in lines])


def train(out: Path, device: str, *values: str, through: tuple[str, ...] = ()) -> np.ndarray:
    settings = [word for value in values for word in ("--set", value)]
    run([*through, *PRETRAIN, str(out), "--device", device, *settings])
    return losses(out)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max() / np.abs(other).max())


def same_steps(device: str) -> Found:
    """Losses of a tiny model twice, and in bfloat16 (docs/pretraining.md, "Precision")."""
    with tempfile.TemporaryDirectory() as folder:
        first, again = (train(Path(folder, name), device) for name in "ab")
        bf16 = train(Path(folder, "bf16"), device, 'run.precision="bf16"')
    repeated, rounded = difference(again, first), difference(bf16, first)
    return [
        row("losses of a second run differ by", f"{repeated:.2g}", holds=repeated < 1e-5),
        row("losses in bfloat16 differ by", f"{rounded:.2g}", holds=rounded < 0.02),
    ]


def pieces_and_processes(device: str) -> Found:
    """One process through torchrun (NCCL on a GPU, gloo on a CPU) as without it."""
    pieces = "run.micro_batches=2"
    with tempfile.TemporaryDirectory() as folder:
        alone = train(Path(folder, "alone"), device, pieces)
        torchrun = train(Path(folder, "ddp"), device, pieces, through=tuple(TORCHRUN))
    error = difference(torchrun, alone)
    return [row("losses through torchrun differ by", f"{error:.2g}", holds=error < 1e-4)]


def killed_and_resumed(device: str) -> Found:
    """SIGTERM after the first saved state, then resume (docs/pretraining.md)."""
    settings = ("run.n_steps=120", "run.save_every=20")
    with tempfile.TemporaryDirectory() as folder:
        whole = train(Path(folder, "whole"), device, *settings)
        out = Path(folder, "killed")
        words = [word for value in settings for word in ("--set", value)]
        process = subprocess.Popen(
            [*PRETRAIN, str(out), "--device", device, *words],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not (out / "state.pt").exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=60)
        run([*RESUME, str(out), "--device", device])
        error = difference(losses(out), whole)
    text = f"ended with {code}; losses after resume differ by {error:.2g}"
    return [row("SIGTERM and resume", text, holds=code != 0 and error < 1e-5)]


def speed(device: str) -> Found:
    """Encoder and training step beside the published structure, and the CPU beside the GPU."""
    rows = []
    for configuration in ("small", "released"):
        for where in dict.fromkeys((device, "cpu")):
            threads = "1" if where != "cpu" else str(min(16, os.cpu_count() or 1))
            common = ["--device", where, "--threads", threads, "--rounds", "3"]
            words = [sys.executable, "benchmarks/encoder.py", configuration, *common]
            rows += _table(f"encoder, {configuration}, {where}", words)
        for precision in ("fp32", "bf16"):
            words = [sys.executable, "benchmarks/training_step.py", configuration]
            words += ["--device", device, "--precision", precision, "--rounds", "5"]
            rows += _table(f"training step, {configuration}, {precision}", words)
    if device != "cpu":
        rows.append(row("memory of an embedding, MB", _peak_mb(device)))
    return rows


def _table(name: str, words: list[str]) -> Found:
    done = run(words)
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return [row(name, json.dumps(one)) for one in answer["rows"]]


def _peak_mb(device: str) -> str:
    torch.cuda.reset_peak_memory_stats()
    embedding(device)
    return f"{torch.cuda.max_memory_allocated() / 1e6:.0f} (32 windows, batches of 16, bundled)"


if __name__ == "__main__":
    main()
