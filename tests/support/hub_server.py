"""A server on the loopback that speaks the paths of the model hub, and can fail."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = "SamGijsen/Brain-Semantoks"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What it has, how it behaves, and what it was asked."""

    files: dict[str, bytes]
    licence: str | None = None
    cut_after: int | None = None
    """Bytes after which a connection breaks"""
    pause_after: int | None = None
    """Bytes after which a connection falls silent"""
    sent: bytes | None = None
    """In place of a file"""
    chunked: bool = False
    """A file is sent without its length"""
    without_ranges: bool = False
    shifted: int = 0
    """Bytes by which another part is sent than was asked for"""
    without_hashes: bool = False
    """In the list of files"""
    without_etags: bool = False
    """Beside a file"""
    revisions: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    asked: list[str] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    authorized: list[str | None] = field(default_factory=list)
    authorized_elsewhere: list[str | None] = field(default_factory=list)
    address: str = ""
    stop: threading.Event = field(default_factory=threading.Event)

    def info(self, revision: str) -> dict[str, Any]:
        def sibling(name: str, content: bytes) -> dict[str, Any]:
            known = {"rfilename": name, "size": len(content), "blobId": "0" * 40}
            if self.without_hashes or not name.endswith(".pth"):
                return known
            digest = hashlib.sha256(content).hexdigest()
            lfs = {"sha256": digest, "size": len(content), "pointerSize": 134}
            return known | {"lfs": lfs}

        return {
            "_id": "1",
            "id": REPOSITORY,
            "sha": revision,
            "private": False,
            "tags": [] if self.licence is None else [f"license:{self.licence}"],
            "downloads": 0,
            "likes": 0,
            "siblings": [sibling(*item) for item in self.files.items()],
        }


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append(path)
        if found := re.fullmatch(rf"/api/models/{REPOSITORY}/revision/([^/]+)", path):
            commit = self.hub.revisions.get(found[1])
            if commit is None and found[1] in self.hub.revisions.values():
                commit = found[1]
            if commit is not None:
                self._answer(json.dumps(self.hub.info(commit)).encode())
                return
        elif found := re.fullmatch(rf"/{REPOSITORY}/resolve/({COMMIT})/(.+)", path):
            # As the hub does: the content lies on another host.
            self.hub.authorized.append(self.headers["Authorization"])
            self.send_response(302)
            host = self.hub.address.replace("127.0.0.1", "localhost")
            self.send_header("Location", f"{host}/elsewhere/{found[2]}")
            self.send_header("X-Repo-Commit", found[1])
            content = self.hub.files.get(found[2])
            if content is not None and not self.hub.without_etags:
                self.send_header("X-Linked-ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        elif path.startswith("/elsewhere/") and path[11:] in self.hub.files:
            self.hub.authorized_elsewhere.append(self.headers["Authorization"])
            self._send(self.hub.sent or self.hub.files[path[11:]])
            return
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _send(self, content: bytes) -> None:
        if self.command == "HEAD":
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            return
        asked = self.headers["Range"]
        self.hub.ranges.append(asked)
        start = 0
        if asked and not self.hub.without_ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-")) + self.hub.shifted
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            last = len(content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
        if self.hub.chunked:
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = None if self.hub.cut_after is None else start + self.hub.cut_after
        if self.hub.pause_after is not None:
            self.wfile.write(content[start : start + self.hub.pause_after])
            self.wfile.flush()
            self.hub.stop.wait(30)
            self.close_connection = True
            return
        self.wfile.write(content[start:end])
        if end is not None and end < len(content):
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)

    def log_message(self, *arguments: object) -> None:
        pass


def serve(hub: Hub) -> Iterator[Hub]:
    """Run it; its address is set."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield hub
        hub.stop.set()
        server.shutdown()
        thread.join()
