"""Sources from disk, repositories and TemplateFlow: verified, or refused with a reason."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from bids_app.atlas.setup import fetch as atlas_fetch
from bids_app.atlas.setup.fetch import download, read_from_folder
from bids_app.atlas.setup.origins import BUCKNER, TEMPLATEFLOW, Source
from bids_app.errors import AtlasError


@pytest.fixture(autouse=True)
def templateflow_home(tmp_path_factory, monkeypatch):
    """An empty folder: the user's own must neither help nor hinder a test."""
    home = tmp_path_factory.mktemp("templateflow")
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(home))
    return home


def source(content, name="atl.nii"):
    return Source(
        path=f"some/folder/{name}", sha256=hashlib.sha256(content).hexdigest(), origin=BUCKNER
    )


@pytest.mark.parametrize("name", ["atl.nii", "atl.nii.gz"])
def test_sources_are_found_anywhere_and_compressed_or_not(tmp_path, name):
    wanted = source(b"voxels")
    path = tmp_path / "deep/er" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(b"voxels") if name.endswith("gz") else b"voxels")
    assert read_from_folder(tmp_path, [wanted]) == {wanted: b"voxels"}


def test_all_missing_sources_are_named_with_their_addresses(tmp_path):
    with pytest.raises(AtlasError) as caught:
        read_from_folder(tmp_path, [source(b"a", "a.nii"), source(b"b", "b.nii.gz")])
    assert "2 source files" in caught.value.message
    assert "a.nii, b.nii" in caught.value.message
    assert f"{BUCKNER.address}/some/folder/b.nii.gz" in caught.value.hint


def test_file_with_the_right_name_and_other_content_is_refused(tmp_path):
    (tmp_path / "atl.nii").write_bytes(b"other voxels")
    with pytest.raises(AtlasError, match="expected sha256"):
        read_from_folder(tmp_path, [source(b"voxels")])


def test_two_files_of_one_name_must_be_the_same_file(tmp_path):
    wanted = source(b"voxels")
    (tmp_path / "atl.nii").write_bytes(b"voxels")
    (tmp_path / "atl.nii.gz").write_bytes(gzip.compress(b"voxels"))
    assert read_from_folder(tmp_path, [wanted]) == {wanted: b"voxels"}
    (tmp_path / "b").mkdir()
    (tmp_path / "b/atl.nii").write_bytes(b"edited")
    with pytest.raises(AtlasError, match=r"b/atl\.nii: not the file"):
        read_from_folder(tmp_path, [wanted])


def test_dangling_and_damaged_sources_are_told(tmp_path):
    (tmp_path / "atl.nii").symlink_to(tmp_path / "annex")
    with pytest.raises(AtlasError, match="datalad get"):
        read_from_folder(tmp_path, [source(b"voxels")])
    (tmp_path / "atl.nii").unlink()
    (tmp_path / "atl.nii.gz").write_bytes(gzip.compress(b"voxels")[:-4])
    with pytest.raises(AtlasError, match="damaged compressed file"):
        read_from_folder(tmp_path, [source(b"voxels")])


def test_download_opens_the_pinned_address_and_verifies():
    wanted, opened = source(b"voxels", "atl.nii.gz"), []

    def opener(url):
        opened.append(url)
        return io.BytesIO(gzip.compress(b"voxels"))

    assert download([wanted], opener=opener) == {wanted: b"voxels"}
    assert opened == [f"{BUCKNER.address}/some/folder/atl.nii.gz"]


def test_download_of_another_content_is_refused():
    with pytest.raises(AtlasError, match="not the file that the atlas is built from"):
        download([source(b"voxels")], opener=lambda _: io.BytesIO(b"<html>404"))


# ------------------------------------------------------------------- a server on this machine


class Server(http.server.ThreadingHTTPServer):
    """Sends `content`, all of it or a part, with a status; counts what was asked."""

    daemon_threads = True
    content, sent, status, silent = b"", None, 200, False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []
        self.stop = threading.Event()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append(self.path)
        if server.silent:
            server.stop.wait(10)
            return
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(server.content)))
        self.end_headers()
        self.wfile.write(server.content[: server.sent])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.stop.set()
        running.shutdown()
        thread.join()


def cut_off(server):
    server.sent = 1000


def not_there(server):
    server.status = 404


def something_else(server):
    server.content = b"<html>please log in</html>"


def gone(server):
    server.socket.close()


FAULTS = [
    (cut_off, r"cannot be fetched|in 1000 bytes"),
    (not_there, "404"),
    (something_else, "not the file that the atlas is built from.* in 26 bytes"),
    (gone, "cannot be fetched"),
]
CONTENT = bytes(range(256)) * 40


def of(server, origin, name="folder/atl.nii"):
    digest = hashlib.sha256(CONTENT).hexdigest()
    server.content = CONTENT
    return Source(path=name, sha256=digest, origin=replace(origin, address=server.address))


def test_a_file_of_a_repository_comes_whole(server):
    wanted = of(server, BUCKNER)
    assert download([wanted]) == {wanted: CONTENT}
    assert server.asked == ["/folder/atl.nii"]


@pytest.mark.parametrize(("fault", "message"), FAULTS)
def test_a_failing_repository_is_an_error_that_names_the_address(server, fault, message):
    wanted = of(server, BUCKNER)
    fault(server)
    with pytest.raises(AtlasError, match=message) as caught:
        download([wanted])
    assert wanted.url in str(caught.value)


def test_a_server_that_says_nothing_is_given_up(server, monkeypatch):
    monkeypatch.setattr(atlas_fetch, "TIMEOUT_S", 0.1)
    server.silent = True
    with pytest.raises(AtlasError, match="timed out"):
        download([of(server, BUCKNER)])


# ------------------------------------------------------------------- TemplateFlow

TRANSFORM = (
    "tpl-MNI152NLin2009cAsym/tpl-MNI152NLin2009cAsym_from-MNI152NLin6Asym_mode-image_xfm.h5"
)
SPHERE = "tpl-fsLR/tpl-fsLR_hemi-R_den-59k_sphere.surf.gii"
OTHERS = ("tpl-fsLR/tpl-fsLR_space-fsaverage_hemi-R_den-59k_sphere.surf.gii",)


@pytest.fixture
def stubs(templateflow_home):
    """TemplateFlow's folder as its client makes it: empty files."""
    for name in (TRANSFORM, SPHERE, *OTHERS):
        (templateflow_home / name).parent.mkdir(exist_ok=True)
        (templateflow_home / name).touch()
    return templateflow_home


@pytest.fixture
def templateflow(server, monkeypatch):
    """TemplateFlow's address is this server."""
    origin = replace(TEMPLATEFLOW, address=server.address)
    monkeypatch.setattr(atlas_fetch, "TEMPLATEFLOW", origin)
    digest = hashlib.sha256(CONTENT).hexdigest()
    server.content = CONTENT
    return lambda name: Source(path=name, sha256=digest, origin=origin)


@pytest.mark.parametrize("name", [TRANSFORM, SPHERE])
def test_templateflow_fetches_one_file_and_the_second_time_none(server, templateflow, stubs, name):
    wanted = templateflow(name)
    assert download([wanted]) == {wanted: CONTENT}
    assert download([wanted]) == {wanted: CONTENT}
    assert server.asked == [f"/{name}"]
    assert (stubs / name).read_bytes() == CONTENT
    assert all(not (stubs / other).stat().st_size for other in OTHERS)


@pytest.mark.parametrize(("fault", "message"), FAULTS[:3])
def test_what_templateflow_failed_to_fetch_is_refused_and_not_left_behind(
    server, templateflow, stubs, fault, message
):
    fault(server)
    wanted = templateflow(TRANSFORM)
    with pytest.raises(AtlasError, match=message):
        download([wanted])
    assert (stubs / TRANSFORM).stat().st_size == 0


def test_another_file_that_templateflow_has_is_refused_and_left_alone(server, templateflow, stubs):
    (stubs / TRANSFORM).write_bytes(b"the transform of the opposite name")
    with pytest.raises(AtlasError, match="expected sha256"):
        download([templateflow(TRANSFORM)])
    assert (stubs / TRANSFORM).read_bytes() == b"the transform of the opposite name"
    assert server.asked == []


def test_a_folder_that_templateflow_cannot_make_is_told(templateflow, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path / "file/templateflow"))
    with pytest.raises(AtlasError, match="cannot be fetched"):
        download([templateflow(TRANSFORM)])


def test_where_templateflow_may_not_write_its_file_is_fetched_and_not_kept(
    server, templateflow, stubs, monkeypatch
):
    """As on a read-only file system, which tells it of root too."""
    monkeypatch.setattr(atlas_fetch.os, "access", lambda *_: False)
    wanted = templateflow(TRANSFORM)
    assert download([wanted]) == {wanted: CONTENT}
    assert server.asked == [f"/{TRANSFORM}"]
    assert (stubs / TRANSFORM).stat().st_size == 0


def test_further_files_are_taken_from_the_folder_or_from_templateflow(tmp_path, stubs):
    wanted = source(CONTENT, TRANSFORM)
    assert read_from_folder(tmp_path, [], further=[replace(wanted, path=TRANSFORM)]) == {}
    (stubs / TRANSFORM).write_bytes(CONTENT)
    wanted = replace(wanted, path=TRANSFORM)
    assert read_from_folder(tmp_path, [], further=[wanted]) == {wanted: CONTENT}
    (tmp_path / wanted.name).write_bytes(b"another")
    with pytest.raises(AtlasError, match=r"_xfm\.h5: not the file"):
        read_from_folder(tmp_path, [], further=[wanted])


def test_what_processes_scans_does_not_import_templateflow(tmp_path):
    """Its import would make a folder in the user's home."""
    home = tmp_path / "templateflow"
    code = "import sys, bids_app.participant, bids_app.atlas.setup.fetch\n"
    code += "assert 'templateflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={"TEMPLATEFLOW_HOME": str(home)})
    assert not home.exists()
