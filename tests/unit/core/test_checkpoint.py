"""Checkpoints are loaded strictly and written whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save, save_file

import model.checkpoint
from model.checkpoint import load_encoder, save_checkpoint
from model.cli.app import main
from model.encoder import build_encoder
from model.errors import CheckpointError, ConfigError
from model.files.write import ResultError
from model.spec import CheckpointCard, EncoderSpec, InputSpec, parcels_sha256

PUBLISHED = Path(__file__).resolve().parents[2] / "golden/reference_model/small_ckpt.pth"
SPEC = EncoderSpec(dim=16, depth=1, heads=2)
FIELDS = {
    "name": "tiny",
    "version": "0",
    "input": InputSpec(normalization="zscore"),
    "readout": ("mean", "cls"),
    "source": "random weights",
    "licence": "Apache-2.0",
    "training": {"method": "none", "seed": 7},
}


@pytest.fixture
def folder(tmp_path):
    save_checkpoint(tmp_path / "tiny", build_encoder(SPEC, seed=7), **FIELDS)
    return tmp_path / "tiny"


def rewrite(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Replace the weights and the hash on the card: what is left to catch is what is inside."""
    save_file(tensors, folder / "weights.safetensors")
    card = json.loads((folder / "card.json").read_text())
    digest = model.checkpoint.hashlib.sha256((folder / "weights.safetensors").read_bytes())
    (folder / "card.json").write_text(json.dumps(card | {"weights_sha256": digest.hexdigest()}))


def full_disk(open_file):
    def opened(path, mode="r", **how):
        if mode == "wb" and path.name == "weights.safetensors":
            raise OSError("full")
        return open_file(path, mode, **how)

    return opened


def edit_card(folder: Path, **changes) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))


# ---- cards and weights


def test_what_was_saved_is_loaded_frozen_and_in_eval_mode(folder):
    encoder = load_encoder(folder)
    expected = build_encoder(SPEC, seed=7).state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in encoder.state_dict().items())
    assert not encoder.training
    assert not any(p.requires_grad for p in encoder.parameters())


def test_the_card_travels_with_the_encoder(folder):
    card = load_encoder(str(folder)).card
    assert card == CheckpointCard.load(folder / "card.json")
    assert card.encoder == SPEC
    assert card.readout == ("mean", "cls")
    assert card.input == FIELDS["input"]
    assert card.parcels_sha256 == parcels_sha256()


def test_the_same_encoder_gives_the_same_bytes(folder, tmp_path):
    save_checkpoint(tmp_path / "again", load_encoder(folder), **FIELDS)
    for name in ("card.json", "weights.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_loading_leaves_the_global_random_state_alone(folder):
    torch.manual_seed(1)
    expected = torch.randn(3)
    torch.manual_seed(1)
    load_encoder(folder)
    assert torch.equal(torch.randn(3), expected)


def test_damaged_weights_are_refused_before_they_are_parsed(folder, monkeypatch):
    monkeypatch.setattr(model.checkpoint, "safe_open", lambda *_, **__: pytest.fail("was parsed"))
    weights = folder / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"expected sha256 \w+, found \w+"):
        load_encoder(folder)


def test_every_tensor_that_does_not_fit_is_named_in_one_error(folder):
    tensors = load_file(folder / "weights.safetensors")
    del tensors["cls_token"]
    tensors["norm.weight"] = torch.zeros(17)
    tensors["mask_token"] = tensors["mask_token"].half()
    rewrite(folder, tensors | {"surplus": torch.zeros(1)})
    with pytest.raises(CheckpointError) as error:
        load_encoder(folder)
    for part in (
        "4 tensors",
        "missing cls_token",
        "unexpected surplus",
        "norm.weight is (17,) torch.float32, expected (16,)",
        "mask_token is (16,) torch.float16",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_named(folder, value):
    tensors = load_file(folder / "weights.safetensors")
    tensors["norm.bias"][3] = value
    rewrite(folder, tensors)
    with pytest.raises(CheckpointError, match=r"1 tensors .*norm\.bias is not finite"):
        load_encoder(folder)


def test_a_folder_s_weights_are_in_memory_once(tmp_path):
    spec = EncoderSpec(dim=768, depth=2, heads=12)
    save_checkpoint(tmp_path / "small", build_encoder(SPEC, seed=7), **FIELDS)
    save_checkpoint(tmp_path / "large", build_encoder(spec, seed=7), **FIELDS)
    program = """
import re, sys
from pathlib import Path
from model.checkpoint import load_encoder
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
load_encoder(sys.argv[1])
before = peak()
encoder = load_encoder(sys.argv[2])
print(peak() - before, sum(p.nbytes for p in encoder.parameters()))
"""
    folders = [str(tmp_path / name) for name in ("small", "large")]
    words = [sys.executable, "-c", program, *folders]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    grown, held = map(int, done.stdout.split())
    assert held > 60e6
    # Three times as much where a mapped file is copied, 1.25 where each value is asked if finite.
    assert grown < 1.2 * held


def test_many_tensors_that_do_not_fit_are_counted(folder):
    tensors = load_file(folder / "weights.safetensors")
    rewrite(folder, tensors | {f"surplus{i}": torch.zeros(1) for i in range(30)})
    with pytest.raises(CheckpointError, match=r"30 tensors .* and 22 more"):
        load_encoder(folder)


def test_a_card_of_another_architecture_is_refused(folder):
    card = json.loads((folder / "card.json").read_text())
    edit_card(folder, encoder=card["encoder"] | {"depth": 2})
    with pytest.raises(CheckpointError, match=r"depth 2 \(the weights have 1\)"):
        load_encoder(folder)


@pytest.mark.parametrize(
    ("part", "change", "complaint"),
    [
        ("encoder", {"dim": 10**9}, r"dim 1000000000 \(.*from 1 to 16384\)"),
        ("encoder", {"dim": 10**30}, "dim 1000000000000000000000000000000 "),
        (
            "encoder",
            {"dim": 16384, "depth": 999},
            r"dim 16384 \(the weights have 16\), depth 999 ",
        ),
        ("encoder", {"mlp_ratio": 16384}, r"mlp_dim 262144 \(the weights have 64\)"),
        ("encoder", {"sg_kernel": 5, "sg_scales": 16}, "sg_kernel 5 .*, sg_scales 16 "),
        ("encoder", {"dim": "16"}, "dim '16'"),
        ("encoder", {"dim": 17}, "must be even"),
        ("encoder", {"depth": -1}, r"depth -1 \(.*from 0"),
        ("encoder", {"depth": 10**9}, "depth 1000000000 "),
        ("encoder", {"heads": 0, "mlp_ratio": 0}, "heads 0 .*, mlp_ratio 0 "),
        ("encoder", {"heads": True}, "heads True"),
        ("encoder", {"sg_scales": 99}, "sg_scales 99"),
        ("encoder", {"layer_scale_init": None}, "layer_scale_init None"),
        ("encoder", {"n_patches": 7}, "5 patches of 20 samples, encoder takes 7 of 20"),
        ("encoder", {"width": 3}, r"unknown keys \['width'\]"),
        ("input", {"patch_samples": 0}, "patch_samples 0"),
        ("input", {"tr_s": -2.0}, r"tr_s -2\.0"),
        ("input", {"band_hz": [0.01, "high"]}, "band_hz"),
        ("input", {"stride_samples": 2.5}, r"stride_samples 2\.5"),
    ],
)
def test_a_card_that_describes_nothing_possible_is_refused(folder, part, change, complaint):
    card = json.loads((folder / "card.json").read_text())
    edit_card(folder, **{part: card[part] | change})
    with pytest.raises(CheckpointError, match=complaint) as error:
        load_encoder(folder)
    assert len(str(error.value)) < 2000


@pytest.mark.parametrize("content", ["[]", "5", '{"input": 5}', '{"input": {}, "encoder": []}'])
def test_a_card_of_another_shape_is_refused(folder, content):
    (folder / "card.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"card\.json"):
        load_encoder(folder)


def test_weights_that_are_no_safetensors_are_refused(folder):
    (folder / "weights.safetensors").write_bytes(b"not tensors")
    digest = model.checkpoint.hashlib.sha256(b"not tensors").hexdigest()
    edit_card(folder, weights_sha256=digest)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_encoder(folder)


def test_weights_for_other_parcels_are_refused(folder):
    edit_card(folder, parcels_sha256="0" * 64)
    with pytest.raises(CheckpointError, match="for other parcels or another order"):
        load_encoder(folder)


@pytest.mark.parametrize("name", ["card.json", "weights.safetensors"])
def test_an_incomplete_folder_is_refused_by_name(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_encoder(folder)


def test_a_missing_path_is_never_replaced_by_random_weights(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        load_encoder(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"no such file.*In a container"):
        load_encoder(tmp_path / "nowhere.pth")
    with pytest.raises(CheckpointError, match=r"nowhere: no such folder\. In a container"):
        load_encoder(tmp_path / "nowhere")


def test_an_unknown_name_is_told_with_those_that_are_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMANTOKS_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"other: .* \(installed: none\)"):
        load_encoder("other")
    for name in ("published", "published-seed2", ".abc.incomplete"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"\(installed: published, published-seed2\)"):
        load_encoder("other")


def test_an_installation_without_a_checkpoint_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("model.spec.files", lambda _: tmp_path)
    with pytest.raises(CheckpointError, match="comes without a checkpoint"):
        load_encoder()


def test_weights_have_the_bytes_that_safetensors_writes(folder):
    weights = folder / "weights.safetensors"
    assert weights.read_bytes() == save(load_file(weights))


def test_a_failing_write_leaves_the_old_checkpoint(folder, monkeypatch):
    before = (folder / "weights.safetensors").read_bytes()
    monkeypatch.setattr(Path, "open", full_disk(Path.open))
    with pytest.raises(ResultError, match="full") as caught:
        save_checkpoint(folder, build_encoder(SPEC, seed=8), **FIELDS)
    assert caught.value.exit_code == 73
    assert (folder / "weights.safetensors").read_bytes() == before
    assert list(folder.parent.iterdir()) == [folder]


def test_a_checkpoint_is_replaced_as_a_whole(folder):
    save_checkpoint(folder, build_encoder(SPEC, seed=8), **FIELDS)
    expected = build_encoder(SPEC, seed=8).cls_token
    assert torch.equal(load_encoder(folder).cls_token, expected.detach())


def test_a_folder_with_other_things_is_not_replaced(folder):
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(CheckpointError, match=r"thesis\.txt"):
        save_checkpoint(folder, build_encoder(SPEC, seed=8), **FIELDS)
    assert (folder / "thesis.txt").read_text() == "precious"


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    encoder = build_encoder(SPEC, seed=7)
    with torch.no_grad():
        encoder.cls_token[0] = torch.inf
    with pytest.raises(CheckpointError, match="cls_token"):
        save_checkpoint(tmp_path / "broken", encoder, **FIELDS)
    assert not (tmp_path / "broken").exists()


def test_heads_can_be_given_for_a_published_file_and_for_nothing_else(folder):
    assert load_encoder(PUBLISHED, heads=4).spec.heads == 4
    with pytest.raises(CheckpointError, match="a card says"):
        load_encoder(folder, heads=4)


# ---- the command


def test_info_prints_the_card(folder):
    result = CliRunner().invoke(main, ["info", str(folder)])
    assert result.exit_code == 0
    assert result.stdout == (folder / "card.json").read_text()
    n_parameters = sum(p.numel() for p in build_encoder(SPEC, seed=0).parameters())
    assert f"{n_parameters:,} parameters" in result.stderr


def test_errors_are_messages_not_tracebacks(tmp_path):
    result = CliRunner().invoke(main, ["info", str(tmp_path / "nowhere")])
    assert result.exit_code == 78
    assert result.stderr.startswith("semantoks: error: ")
    assert "nowhere" in result.stderr


@pytest.mark.parametrize("tr_s", [1e-9, 0.0, float("nan"), 1e12])
def test_a_sampling_that_no_memory_holds_is_no_input_of_a_checkpoint(tr_s):
    with pytest.raises(ConfigError, match=r"from 0\.1 to 20"):
        InputSpec(tr_s=tr_s)
