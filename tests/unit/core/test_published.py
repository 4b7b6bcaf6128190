"""Published checkpoints are imported without running their code; nothing in them is guessed."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import model.published
from model.checkpoint import import_published, load_encoder
from model.cli.app import main
from model.errors import CheckpointError
from model.spec import EncoderSpec

PUBLISHED = Path(__file__).resolve().parents[2] / "golden/reference_model/small_ckpt.pth"
LIVE = "teacher_encoder.network_tokenizers.schaefer400.0."


@pytest.fixture
def published() -> dict[str, torch.Tensor]:
    return torch.load(PUBLISHED, weights_only=True)["model_state_dict"]


@pytest.fixture
def write(tmp_path):
    """Write a changed published checkpoint and return its path."""

    def _write(state, **rest) -> Path:
        torch.save({"model_state_dict": state, **rest}, tmp_path / "changed.pth")
        return tmp_path / "changed.pth"

    return _write


def test_the_architecture_is_read_from_the_shapes():
    spec = import_published(PUBLISHED, heads=4).spec
    assert spec == EncoderSpec(dim=48, depth=2, heads=4)


def test_the_card_of_an_import_says_where_it_comes_from():
    card = import_published(PUBLISHED, heads=4).card
    assert card.source.startswith("small_ckpt.pth, sha256 ")
    assert card.licence.startswith("unknown")
    assert card.input.normalization == "zscore"
    assert card.readout == ("mean", "cls")
    assert card.training["epoch"] == 99


def test_dead_tensors_are_dropped_by_name(published):
    dropped = set(import_published(PUBLISHED, heads=4).card.dropped_keys)
    dead = {
        key
        for key in published
        if key.startswith("teacher_encoder.")
        and (".tian3." in key or ".buckner7." in key or "inter_network_transformer.norm." in key)
    }
    others = {"student_encoder.*", "student_predictor.*", "teacher_predictor.*"}
    others |= {"student_mask_predictor.*", "teacher_mask_predictor.*"}
    assert len(dead) == 2 * 9 * 13 + 2
    assert dropped == dead | others


def test_kernel_norm_is_the_file_s(published, write):
    key = f"{LIVE}branches.1.slconv.kernel_norm"
    state = published | {key: published[key] * 3}
    encoder = import_published(write(state), heads=4)
    assert torch.equal(encoder.tokenizers[0].structured.kernel_norm, state[key])


def test_an_imported_checkpoint_saved_and_loaded_is_the_same(tmp_path):
    imported = import_published(PUBLISHED, heads=4)
    result = CliRunner().invoke(
        main, ["import-checkpoint", str(PUBLISHED), str(tmp_path / "out"), "--heads", "4"]
    )
    assert result.exit_code == 0, result.output
    again = CliRunner().invoke(main, ["import-checkpoint", str(PUBLISHED), str(tmp_path / "out")])
    assert "is not empty" in again.output
    loaded = load_encoder(tmp_path / "out")
    assert loaded.card == imported.card
    x = torch.randn(1, 457, 100)
    assert torch.equal(loaded(x), imported(x))


def test_the_prefix_of_distributed_training_is_optional(published, write):
    path = write({f"module.{k}": v for k, v in published.items()})
    expected = import_published(PUBLISHED, heads=4)
    found = import_published(path, heads=4).state_dict()
    assert all(torch.equal(v, found[k]) for k, v in expected.state_dict().items())


def test_a_file_without_the_dead_parts_is_imported(published, write):
    state = {k: v for k, v in published.items() if k.startswith("teacher_encoder.")}
    state = {k: v for k, v in state.items() if "tian3" not in k and "buckner7" not in k}
    assert import_published(write(state), heads=4).spec.dim == 48


def test_heads_that_the_file_does_not_tell_are_asked_for():
    with pytest.raises(CheckpointError, match=r"import-checkpoint \S+\.pth FOLDER --heads N"):
        load_encoder(PUBLISHED)


def test_heads_are_taken_from_the_file_s_configuration(published, write):
    path = write(published, config={"model": {"heads": 3, "encoder": {"num_heads": 4}}})
    assert load_encoder(path).spec.heads == 4


def test_the_length_of_a_patch_is_taken_from_the_file_s_configuration(published, write):
    data = {"patch_size": 10, "target_signal_length": 50}
    encoder = import_published(write(published, config={"data": data}), heads=4)
    taken = encoder.own_card().input
    assert (taken.patch_samples, taken.window_samples) == (10, 50)
    with pytest.raises(CheckpointError, match="windows of 100 samples in patches of 10"):
        import_published(
            write(published, config={"data": data | {"target_signal_length": 100}}), heads=4
        )


def test_heads_are_64_channels_wide_where_that_divides():
    """As published: 768 channels, 12 heads."""
    live = {
        "inter_network_transformer.cls_token": torch.zeros(1, 1, 768),
        "inter_network_transformer.transformer_blocks.0.mlp.0.weight": torch.zeros(3072, 1),
        "inter_network_transformer.temporal_pos_embedding": torch.zeros(5, 768),
        "network_tokenizers.schaefer400.0.branches.0.weight": torch.zeros(384, 61, 3),
        "network_tokenizers.schaefer400.0.branches.1.slconv.kernel_list.0": torch.zeros(7, 61, 4),
    }
    spec = model.published._spec(live, heads=None, patch_samples=20, path=Path("x.pth"))
    assert spec == EncoderSpec(depth=1, sg_scales=1)


def test_no_heads_at_all_are_refused():
    with pytest.raises(CheckpointError, match="heads 0 "):
        import_published(PUBLISHED, heads=0)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(CheckpointError, match="divisible by heads 5"):
        import_published(PUBLISHED, heads=5)


def test_pickled_objects_are_refused_and_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save({"model_state_dict": {}, "config": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(CheckpointError, match=r"refused, it holds a pickled posix\.mkdir"):
        load_encoder(tmp_path / "trap.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(CheckpointError, match="refused"):
        load_encoder(tmp_path / "bare.pth")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 broken", b"\x80\x02}q\x00."])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.pth"):
        load_encoder(tmp_path / "x.pth")


def test_a_truncated_file_is_refused(tmp_path):
    (tmp_path / "x.pth").write_bytes(PUBLISHED.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match=r"x\.pth"):
        load_encoder(tmp_path / "x.pth")


def test_another_dictionary_is_refused(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"'model_state_dict'.*state_dict"):
        load_encoder(tmp_path / "x.pth")


def test_a_bare_tensor_is_refused(tmp_path):
    torch.save(torch.zeros(1), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="expected a dictionary, found Tensor"):
        load_encoder(tmp_path / "x.pth")


def test_a_configuration_that_holds_itself_comes_to_an_end(published, write):
    config: dict[str, object] = {}
    config["model"] = config
    with pytest.raises(CheckpointError, match="how many attention heads"):
        import_published(write(published, config=config), heads=None)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (torch.ones(1).expand(1 << 20, 1 << 10), "announced with"),
        (torch.eye(3).to_sparse(), "expected tensors"),
        (torch.ones(3, dtype=torch.complex64), "expected tensors"),
        (torch.ones(3, device="meta"), "expected tensors|not a readable"),
    ],
    ids=["one number for a billion", "sparse", "complex", "without numbers"],
)
def test_tensors_that_are_not_all_there_are_refused(published, write, odd, said):
    with pytest.raises(CheckpointError, match=said):
        import_published(write(published | {f"{LIVE}odd": odd}), heads=4)


def test_a_flipped_bit_is_found(tmp_path):
    raw = bytearray(PUBLISHED.read_bytes())
    for place in (len(raw) // 2, 9 * len(raw) // 10):
        raw[place] ^= 1
        path = tmp_path / "flipped.pth"
        path.write_bytes(raw)
        with pytest.raises(CheckpointError, match=r"check sum differs|CRC-32"):
            import_published(path, heads=4)
        raw[place] ^= 1


def test_an_archive_that_torch_does_not_write_is_not_unpacked(tmp_path):
    path = tmp_path / "packed.pth"
    with (
        zipfile.ZipFile(PUBLISHED) as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(CheckpointError, match="compressed"):
        import_published(path, heads=4)


def without_teacher(state):
    return {k: v for k, v in state.items() if not k.startswith("teacher_encoder.")}


def without_a_weight(state):
    return {k: v for k, v in state.items() if k != f"{LIVE}norm.bias"}


def without_cls(state):
    return {k: v for k, v in state.items() if not k.endswith("cls_token")}


def with_a_nan(state):
    return state | {f"{LIVE}norm.bias": torch.full((48,), torch.nan)}


def with_a_leftover(state):
    return state | {"teacher_encoder.decoder.weight": torch.zeros(2)}


def with_an_unknown_part(state):
    return state | {"probe.weight": torch.zeros(2)}


def with_half_precision(state):
    return {k: v.half() if v.is_floating_point() else v for k, v in state.items()}


def with_other_parcels(state):
    return state | {f"{LIVE}branches.0.weight": torch.zeros(24, 14, 3)}


def of_17_networks(state):
    more = {
        key.replace(".0.", f".{i}.", 1): value
        for key, value in state.items()
        if key.startswith(LIVE) or re.match(r"teacher_encoder.network_tokenizers.\w+\.0\.", key)
        for i in range(9, 17)
    }
    return state | more


def of_one_group(state):
    others = re.compile(r"teacher_encoder\.network_tokenizers\.schaefer400\.[1-8]\.")
    return {key: value for key, value in state.items() if not others.match(key)}


def of_another_atlas(state):
    return {key.replace("schaefer400", "schaefer200"): value for key, value in state.items()}


def dense_alone(state):
    return {key: value for key, value in state.items() if ".branches.1." not in key}


def structured_alone(state):
    return {
        key.replace(".branches.1.", ".branches.0."): value
        for key, value in state.items()
        if ".branches.0." not in key
    }


def linear(state):
    kept = {key: value for key, value in state.items() if ".branches." not in key}
    return kept | {f"{LIVE[:-2]}{i}.projection.weight": torch.zeros(48, 20) for i in range(9)}


def with_a_fresh_norm(state):
    return state | {f"{LIVE}branches.1.slconv.kernel_norm_initialized": torch.tensor(data=False)}


def with_another_multiplier(state):
    return state | {f"{LIVE}branches.1.slconv.multiplier": torch.full((1, 61, 1), 3.0)}


def with_other_positions(state):
    key = "teacher_encoder.inter_network_transformer.temporal_pos_embedding"
    return state | {key: torch.zeros(5, 48)}


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (without_teacher, "0 live keys of the teacher"),
        (without_a_weight, r"missing tokenizers\.0\.norm\.bias"),
        (without_cls, "the teacher lacks .*cls_token"),
        (with_a_nan, r"tokenizers\.0\.norm\.bias is not finite"),
        (with_a_leftover, r"unexpected decoder\.weight"),
        (with_an_unknown_part, r"unknown keys \['probe\.weight'\]"),
        (with_other_parcels, r"other parcels: Vis 14 \(expected 61\)"),
        (of_17_networks, r"expected 9 networks \(Vis, .*\), found 17 group\(s\), of 61, "),
        (of_one_group, r"expected 9 networks .* found 1 group\(s\), of 61 parcels"),
        (of_another_atlas, "tokenizers of schaefer400, found those of schaefer200"),
        (dense_alone, "found the dense convolution alone"),
        (structured_alone, "found the structured convolution alone"),
        (linear, r"found others \(norm.bias, norm.weight, projection.weight\)"),
        (with_a_fresh_norm, "kernel_norm was never initialized"),
        (with_another_multiplier, "multiplier is not 2.0"),
        (with_other_positions, "not the sine-cosine"),
        (with_half_precision, r"torch\.float16, expected .* torch\.float32"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_with_the_reason(
    published, write, damage, complaint
):
    with pytest.raises(CheckpointError, match=complaint):
        import_published(write(damage(published)), heads=4)
