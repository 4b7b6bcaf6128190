"""The weights of the paper: from a hub or a mirror, verified, asked about, whole or not there."""

from __future__ import annotations

import builtins
import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import hub_server
import pytest
import torch
from click.testing import CliRunner, Result
from hub_server import COMMIT, REPOSITORY, Hub

from bids_app.cli.assets import main
from bids_app.embedder import import_weights
from bids_app.weights import install, transfer
from model.checkpoint import import_published, load_encoder
from model.files.write import ResultError
from model.invocation import interrupts
from model.spec import read_card

PUBLISHED = Path(__file__).resolve().parents[2] / "golden/reference_model/small_ckpt.pth"
NAME = "brainsemantoks_ckpt_epoch_100.pth"
needs_hub = pytest.mark.usefixtures("_client")


@pytest.fixture
def _client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture(scope="session")
def pth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint of the published layout, which says how many heads it has."""
    content = torch.load(PUBLISHED, weights_only=True)
    path = tmp_path_factory.mktemp("pth") / NAME
    torch.save(content | {"config": {"model": {"num_heads": 4}}}, path)
    return path


@pytest.fixture
def hub(pth: Path):
    files = {
        ".gitattributes": b"*.pth filter=lfs",
        "config_used.yaml": b"depth: 2",
        NAME: pth.read_bytes(),
        "second_random_seed/other_name.pth": pth.read_bytes() + b"2",
    }
    yield from hub_server.serve(Hub(files=files))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEMANTOKS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*words: object, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, ["checkpoint", *map(str, words)], input=answer)


def fetch(hub: Hub, *words: object) -> Result:
    return run("--download", "published", "--from", hub.address, "--accept-licence", *words)


def left(home: Path) -> list[str]:
    folder = home / "checkpoints"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@needs_hub
def test_the_weights_are_installed_under_their_name_and_found_by_it(home, hub, pth) -> None:
    answer = fetch(hub)
    assert answer.exit_code == 0, answer.output
    assert left(home) == ["published"]
    digest = hashlib.sha256(pth.read_bytes()).hexdigest()
    card = read_card(home / "checkpoints/published")
    url = f"{hub.address}/{REPOSITORY}/resolve/{COMMIT}/{NAME}"
    assert card.source == f"{url}, sha256 {digest}"
    assert card.licence == f"none stated (at {hub.address}/{REPOSITORY}, revision {COMMIT})"
    assert card.name == "published"
    assert card.training["part"] == "teacher_encoder"
    assert "To use them: --checkpoint published" in answer.stdout
    for line in (f"sha256    {digest}, as the hub states", f"revision  {COMMIT}", url):
        assert line in answer.stderr
    x = torch.randn(1, 457, 100)
    assert torch.equal(load_encoder("published")(x), import_published(pth, heads=4)(x))


@needs_hub
def test_what_the_weights_take_for_input_is_the_papers(home, hub) -> None:
    assert fetch(hub).exit_code == 0
    taken = read_card(home / "checkpoints/published").input
    assert taken == install.CONTRACT
    assert (taken.normalization, taken.band_hz, taken.tr_s) == ("zscore", (0.01, 0.1), 2.0)
    assert (taken.window_samples, taken.patch_samples) == (100, 20)


def test_weights_that_take_other_input_are_refused(home, pth, tmp_path) -> None:
    content = torch.load(pth, weights_only=True)
    content["config"]["data"] = {"patch_size": 10}
    other = tmp_path / "other.pth"
    torch.save(content, other)
    answer = run("--from", other, "--sha256", sha256(other), "--accept-licence")
    assert answer.exit_code == 78
    assert "take other input" in answer.stderr
    assert left(home) == []


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@needs_hub
def test_the_other_seeds_are_the_one_file_of_their_folder(home, hub) -> None:
    hub.files["second_random_seed/other_name.pth"] = hub.files[NAME]
    words = ("--from", hub.address, "--accept-licence")
    answer = run("--download", "published:seed2", *words)
    assert answer.exit_code == 0, answer.output
    assert left(home) == ["published-seed2"]
    assert "--checkpoint published-seed2" in answer.stdout
    assert load_encoder("published:seed2").spec == load_encoder("published-seed2").spec
    answer = run("--download", "published:seed3", *words)
    assert answer.exit_code == 78
    assert "expected one .pth in third_random_seed/" in answer.stderr


@needs_hub
@pytest.mark.parametrize(("said", "code"), [("n\n", 2), ("", 2), ("y\n", 0)])
def test_consent_is_asked_for_before_anything_is_fetched(home, hub, said, code) -> None:
    hub.licence = "cc-by-nc-4.0"
    answer = run("--download", "published", "--from", hub.address, answer=said)
    assert answer.exit_code == code, answer.output
    assert "licence   cc-by-nc-4.0" in answer.stderr
    assert left(home) == ([] if code else ["published"])
    assert any("resolve" in path for path in hub.asked) == (not code)
    if not code:
        assert read_card(home / "checkpoints/published").licence.startswith("cc-by-nc-4.0 (at ")


@needs_hub
def test_what_is_installed_is_verified_and_not_fetched_again(home, hub) -> None:
    fetch(hub)
    n_asked = len(hub.asked)
    answer = fetch(hub)
    assert answer.exit_code == 0
    assert "Installed already" in answer.stdout
    assert fetch(hub, "--revision", COMMIT).exit_code == 0
    assert len(hub.asked) == n_asked
    other = fetch(hub, "--revision", "f" * 40)
    assert other.exit_code == 2
    assert "holds other weights" in other.stderr
    weights = home / "checkpoints/published/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert fetch(hub).exit_code == 78


@needs_hub
def test_a_download_that_was_cut_off_goes_on(hub, pth) -> None:
    hub.cut_after = 200_000
    n_bytes = pth.stat().st_size
    assert n_bytes > 400_000
    answer = fetch(hub)
    assert answer.exit_code == 0, answer.output
    assert hub.ranges[:2] == [None, "bytes=200000-"]


@needs_hub
def test_a_call_goes_on_where_an_earlier_one_lost_the_connection(home, hub, pth) -> None:
    content = pth.read_bytes()
    part = home / f"checkpoints/.{sha256(pth)}.incomplete"
    part.parent.mkdir(parents=True)
    hub.cut_after = 0
    part.write_bytes(content[:300_000])
    answer = fetch(hub)
    assert answer.exit_code == 78
    assert "300,000 bytes of it are kept" in answer.stderr
    assert part.read_bytes() == content[:300_000]
    listed = CliRunner().invoke(main, ["list"])
    assert f"cut off     {part}, 300,000 bytes" in listed.stdout
    hub.cut_after, hub.ranges = None, []
    assert fetch(hub).exit_code == 0
    assert hub.ranges == ["bytes=300000-"]
    assert left(home) == ["published"]


@needs_hub
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_download_that_was_ended_goes_on(home, hub, pth, number) -> None:
    hub.pause_after = 1_000_000
    words = ["checkpoint", "--download", "published", "--from", hub.address, "--accept-licence"]
    call = [sys.executable, "-m", "bids_app", "assets", *words]
    part = home / f"checkpoints/.{sha256(pth)}.incomplete"
    with subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 60
        while not (part.is_file() and part.stat().st_size > 900_000):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(30) == (143 if number == signal.SIGTERM else -number)
    n_kept = part.stat().st_size
    hub.pause_after, hub.ranges = None, []
    assert fetch(hub).exit_code == 0
    assert hub.ranges == [f"bytes={n_kept}-"]
    assert left(home) == ["published"]


@needs_hub
@pytest.mark.parametrize("kept", [b"", b"x" * 1000, b"x" * 10_000_000])
def test_a_beginning_of_something_else_ends_as_the_right_file_or_as_none(
    home, hub, pth, kept
) -> None:
    part = home / f"checkpoints/.{sha256(pth)}.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(kept)
    answer = fetch(hub)
    if answer.exit_code:
        assert "It was removed" in answer.stderr
        assert left(home) == []
        answer = fetch(hub)
    assert answer.exit_code == 0, answer.output
    assert left(home) == ["published"]


def test_too_long_a_beginning_is_no_dead_end_where_no_size_is_known(home, hub, pth) -> None:
    part = home / f"checkpoints/.{sha256(pth)}.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 10_000_000)
    address = f"{hub.address}/elsewhere/{NAME}"
    answer = run("--from", address, "--accept-licence", "--sha256", sha256(pth))
    assert answer.exit_code == 0, answer.output
    assert hub.ranges == ["bytes=10000000-", None]


@needs_hub
def test_a_server_without_ranges_sends_all_of_it_again(home, hub, pth) -> None:
    hub.without_ranges = True
    part = home / f"checkpoints/.{sha256(pth)}.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(pth.read_bytes()[:1000])
    assert fetch(hub).exit_code == 0
    assert left(home) == ["published"]


@needs_hub
def test_a_server_that_sends_another_part_is_no_dead_end(home, hub, pth) -> None:
    hub.shifted = 5
    part = home / f"checkpoints/.{sha256(pth)}.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(pth.read_bytes()[:1000])
    answer = fetch(hub)
    assert answer.exit_code == 78
    assert "another part of it came" in answer.stderr
    assert left(home) == []
    assert fetch(hub).exit_code == 0


@needs_hub
def test_what_is_kept_is_counted_where_all_of_it_came_again(home, hub, pth) -> None:
    hub.without_ranges, hub.cut_after = True, 300
    part = home / f"checkpoints/.{sha256(pth)}.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(pth.read_bytes()[:1000])
    assert "300 bytes of it are kept" in fetch(hub).stderr
    assert part.stat().st_size == 300


@needs_hub
def test_nothing_is_written_through_a_link_or_into_a_pipe(home, hub, pth, tmp_path) -> None:
    part = home / f"checkpoints/.{sha256(pth)}.incomplete"
    part.parent.mkdir(parents=True)
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for make in (lambda: part.symlink_to(precious), lambda: os.mkfifo(part), part.mkdir):
        make()
        answer = fetch(hub)
        assert answer.exit_code == 73
        assert "Remove it" in answer.stderr
        part.rmdir() if part.is_dir() else part.unlink()
    assert precious.read_text() == "mine"


@needs_hub
def test_another_file_than_the_hub_states_is_removed(home, hub, pth) -> None:
    hub.sent = pth.read_bytes()[:-1] + b"?"
    answer = fetch(hub)
    assert answer.exit_code == 78
    assert "not the file that it should be" in answer.stderr
    assert "It was removed" in answer.stderr
    assert left(home) == []


@needs_hub
@pytest.mark.parametrize("chunked", [False, True])
def test_a_shorter_file_or_a_page_in_its_place_is_no_endless_download_and_not_kept(
    home, hub, pth, chunked
) -> None:
    hub.chunked = chunked
    for hub.sent in (pth.read_bytes()[:-1000], b"<html>log in</html>"):
        hub.ranges = []
        answer = fetch(hub)
        assert answer.exit_code == 78
        assert "not the file that it should be" in answer.stderr
        assert len(hub.ranges) == 1 + chunked
        assert left(home) == []


def full_disk(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    genuine = transfer._append

    def append(file, block) -> None:
        if file.tell() + len(block) > at:
            file = type("Full", (), {"write": no_room, "name": file.name})
        genuine(file, block)

    def no_room(_block) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "_append", append)


def test_a_full_disk_is_told_as_one_and_what_came_is_kept(home, hub, pth, monkeypatch) -> None:
    address = f"{hub.address}/elsewhere/{NAME}"
    words = ("--from", address, "--accept-licence", "--sha256", sha256(pth))
    with monkeypatch.context() as patch:
        full_disk(patch, at=1_200_000)
        answer = run(*words)
    assert answer.exit_code == 73, answer.output
    assert "cannot be written (No space left on device)" in answer.stderr
    assert len(left(home)) == 1
    assert run(*words).exit_code == 0
    assert left(home) == ["published"]


def test_what_was_fetched_stays_where_there_is_no_room_to_install_it(
    home, hub, pth, monkeypatch
) -> None:
    address = f"{hub.address}/elsewhere/{NAME}"
    words = ("--from", address, "--accept-licence", "--sha256", sha256(pth))

    def no_room(path, *_rest, **_names) -> None:
        raise ResultError(path, "cannot be written (No space left on device)")

    with monkeypatch.context() as patch:
        patch.setattr(install, "import_weights", no_room)
        assert run(*words).exit_code == 73
    assert left(home) == [f".{sha256(pth)}.incomplete"]
    n_asked = len(hub.asked)
    assert run(*words).exit_code == 0
    assert len(hub.asked) == n_asked


def test_a_file_that_another_process_fetches_or_imports_is_left_to_it(home, hub, pth) -> None:
    address = f"{hub.address}/elsewhere/{NAME}"
    words = ("--from", address, "--accept-licence", "--sha256", sha256(pth))
    part = home / f"checkpoints/.{sha256(pth)}.incomplete"
    part.parent.mkdir(parents=True)
    digest = sha256(pth)
    with transfer.fetched(address, part, sha256=digest, n_bytes=None, headers={}):
        answer = run(*words)
        assert answer.exit_code == 78
        assert "another process fetches this file now" in answer.stderr
        assert part.is_file()
    assert left(home) == []


@needs_hub
def test_a_file_of_the_right_hash_that_is_no_checkpoint_leaves_nothing(home, hub) -> None:
    hub.files[NAME] = b"PK no archive"
    answer = fetch(hub)
    assert answer.exit_code == 78
    assert left(home) == []


@needs_hub
def test_a_hash_that_stands_beside_the_file_alone_will_do_and_none_will_not(hub) -> None:
    hub.without_hashes = hub.without_etags = True
    answer = fetch(hub)
    assert answer.exit_code == 78
    assert "no sha256 of" in answer.stderr
    hub.without_etags = False
    assert fetch(hub).exit_code == 0


@needs_hub
def test_an_unknown_revision_is_told(hub) -> None:
    answer = fetch(hub, "--revision", "v9")
    assert answer.exit_code == 78
    assert "revision v9: the model hub cannot be asked" in answer.stderr


@needs_hub
def test_the_endpoint_of_the_environment_is_the_hub(hub, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    answer = run("--download", "published", "--accept-licence")
    assert answer.exit_code == 0, answer.output
    assert "hf_secret" not in answer.output
    assert hub.authorized == ["Bearer hf_secret"]
    assert hub.authorized_elsewhere == [None]


@needs_hub
def test_a_mirror_of_the_file_alone_is_held_against_the_hub_or_a_given_hash(
    home, hub, pth, monkeypatch
) -> None:
    from huggingface_hub import constants

    address = f"{hub.address}/elsewhere/{NAME}"
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    answer = run("--from", address, "--accept-licence")
    assert answer.exit_code == 78
    assert "--sha256" in answer.stderr
    wrong = run("--from", address, "--accept-licence", "--sha256", "0" * 64)
    assert wrong.exit_code == 78
    assert left(home) == []
    answer = run("--from", address, "--accept-licence", "--sha256", sha256(pth).upper())
    assert answer.exit_code == 0, answer.output
    source = read_card(home / "checkpoints/published").source
    assert source == f"{NAME}, sha256 {sha256(pth)} (as given)"


def test_a_file_is_taken_where_it_lies_and_left_there(home, pth) -> None:
    answer = run("--from", pth, "--accept-licence", "--sha256", "1" * 64)
    assert answer.exit_code == 78
    assert f"found {sha256(pth)}" in answer.stderr
    assert left(home) == []
    answer = run("--from", pth, "--sha256", sha256(pth), answer="y\n")
    assert answer.exit_code == 0, answer.output
    assert "unknown here, the hub was not asked" in answer.stderr
    assert pth.is_file()
    assert left(home) == ["published"]


@needs_hub
def test_a_file_is_held_against_what_the_hub_says(hub, pth, monkeypatch, tmp_path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    other = tmp_path / "other.pth"
    other.write_bytes(pth.read_bytes() + b"?")
    assert run("--from", other, "--accept-licence").exit_code == 78
    assert run("--from", pth, "--accept-licence", "--sha256", sha256(pth)).exit_code == 0
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    answer = run("--download", "published:seed2", "--from", pth, "--accept-licence")
    assert answer.exit_code == 78
    assert f"has sha256 {sha256(pth)}" in answer.stderr


def test_a_signal_while_torch_is_loaded_waits_for_its_end(pth, tmp_path, monkeypatch) -> None:
    genuine, heard = builtins.__import__, []

    def loading(name: str, *rest: object, **named: object) -> object:
        if name == "torch" and not heard:
            heard.append(name)
            interrupts._remember(signal.SIGTERM, None)  # raises, unless it is put off
            heard.append("loaded")
        return genuine(name, *rest, **named)

    monkeypatch.setattr(interrupts._State, "heard", None)
    monkeypatch.setattr(interrupts._State, "shields", 0)  # commands that ended here left some
    monkeypatch.setattr(builtins, "__import__", loading)
    with pytest.raises(SystemExit) as ended:
        import_weights(pth, tmp_path / "out", heads=None, contract=install.CONTRACT)
    assert ended.value.code == 143
    assert heard == ["torch", "loaded"]
    assert not (tmp_path / "out").exists()


def test_weights_in_another_home_are_used_by_their_path(home, pth, tmp_path) -> None:
    words = ("--from", pth, "--accept-licence", "--sha256", sha256(pth))
    assert "To use them: --checkpoint published\n" in run(*words, "--home", home).stdout
    other = tmp_path / "other"
    told = run(*words, "--home", other).stdout
    assert f"To use them: --checkpoint {other / 'checkpoints/published'}\n" in told


def test_heads_that_no_file_tells_are_given(home) -> None:
    words = ("--from", PUBLISHED, "--accept-licence", "--sha256", sha256(PUBLISHED))
    assert run(*words).exit_code == 78
    assert left(home) == []
    assert run(*words, "--heads", 4).exit_code == 0
    assert load_encoder("published").spec.heads == 4


def test_without_the_extra_the_way_out_is_told(monkeypatch) -> None:
    genuine = builtins.__import__

    def absent(name: str, *rest: object) -> object:
        if name.startswith("huggingface_hub"):
            raise ImportError(name)
        return genuine(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    answer = run("--download", "published", "--accept-licence")
    assert answer.exit_code == 78
    assert "pip install '.[hub]'" in answer.stderr


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--download", "other"),
        ("--from", PUBLISHED, "--sha256", "abc"),
        ("--from", PUBLISHED, "--sha256", "0" * 64, "--revision", "main"),
    ],
)
def test_wrong_usage_ends_with_2(words) -> None:
    assert run(*words, "--accept-licence").exit_code == 2


def test_an_address_is_one_whatever_follows_the_name_of_the_file(home, hub, pth) -> None:
    address = f"{hub.address}/elsewhere/{NAME}?download=true&key=secret#top"
    answer = run("--from", address, "--accept-licence", "--sha256", sha256(pth))
    assert answer.exit_code == 0, answer.output
    assert "secret" not in (home / "checkpoints/published/card.json").read_text()


def test_a_password_in_an_address_is_refused_and_not_told() -> None:
    for address in ("http://me:secret@127.0.0.1:9/x.pth", "http://me:secret@127.0.0.1:9"):
        for answer in (
            run("--from", address, "--accept-licence", "--sha256", "0" * 64),
            CliRunner().invoke(main, ["atlas", "--from", address]),
        ):
            assert answer.exit_code == 2
            assert "secret" not in answer.output


def test_heads_that_contradict_the_file_are_refused(home, pth) -> None:
    answer = run("--from", pth, "--accept-licence", "--sha256", sha256(pth), "--heads", 3)
    assert answer.exit_code == 78
    assert "has 4 attention heads, not 3" in answer.stderr
    assert left(home) == []


def test_something_else_in_the_place_of_installed_weights_is_to_be_removed(home, pth) -> None:
    place = home / "checkpoints/published"
    place.mkdir(parents=True)
    words = ("--from", pth, "--accept-licence", "--sha256", sha256(pth))
    answer = run(*words)
    assert answer.exit_code == 78
    assert f"Remove {place}" in answer.stderr
    place.rmdir()
    place.symlink_to("nowhere")
    assert f"Remove {place}" in run(*words).stderr
    place.unlink()
    assert run(*words).exit_code == 0


def test_what_is_no_file_of_weights_is_told_as_what_it_is(tmp_path) -> None:
    (tmp_path / "empty.pth").touch()
    (tmp_path / "lost.pth").symlink_to("../.git/annex/objects/x")
    (tmp_path / "lfs.pth").write_text("version https://git-lfs.github.com/spec/v1\noid x\n")
    for name, found in {
        "": "a folder",
        "empty.pth": "an empty file",
        "x": "no such file",
        "lost.pth": "a link that leads nowhere",
        "lfs.pth": "a pointer of git-lfs",
    }.items():
        answer = run("--from", tmp_path / name, "--accept-licence")
        assert answer.exit_code == 78
        assert f"expected a file of weights, found {found}" in answer.stderr
        assert ("Give the .pth itself" in answer.stderr) == (name[:1] != "l")


def test_a_download_of_which_nothing_came_leaves_nothing(home) -> None:
    words = ("--from", "http://127.0.0.1:9/x.pth", "--sha256", "1" * 64, "--accept-licence")
    answer = run(*words)
    assert answer.exit_code == 78
    assert "Nothing of it came" in answer.stderr
    assert left(home) == []


def test_a_place_that_cannot_be_written_ends_with_73(home, pth) -> None:
    home.write_text("a file")
    answer = run("--from", pth, "--accept-licence", "--sha256", sha256(pth))
    assert answer.exit_code == 73, answer.output
    assert "cannot be written" in answer.stderr


def test_a_path_comes_before_an_installed_name(home, tmp_path, monkeypatch) -> None:
    from model.files.home import checkpoint_place

    (home / "checkpoints/published-seed2").mkdir(parents=True)
    found = home / "checkpoints/published-seed2"
    assert checkpoint_place(Path("published:seed2")) == found
    assert checkpoint_place(Path("published-seed2")) == found
    assert checkpoint_place(Path("published")) == Path("published")
    assert checkpoint_place(Path("./a/published-seed2")) == Path("a/published-seed2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "published-seed2").mkdir()
    assert checkpoint_place(Path("published-seed2")) == Path("published-seed2")
