"""Stands in for the Hugging Face Hub: takes pushes as its client sends them, and checks what arrives."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.support.serving import serving

TOKEN = "hf_of_the_test_0123456789"
"""The one token that is valid."""


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One commit, as it was made."""

    message: str
    files: tuple[str, ...]
    """Added or changed."""
    deleted: tuple[str, ...]


@dataclass(kw_only=True)
class Repository:
    """A repository and its history."""

    files: dict[str, bytes] = field(default_factory=dict)
    """Contents of regular files, and of LFS files that came as such."""
    large: dict[str, str] = field(default_factory=dict)
    """sha256 of the files that are kept as LFS or Xet objects."""
    commits: list[Commit] = field(default_factory=list)

    def write_to(self, folder: Path) -> Path:
        """What a download would give."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return folder


Answer = tuple[int, Any]
"""Status, and JSON content (bytes go out as they are)."""


class ModelHub:
    """The Hub of one user. ``instead`` overrides answers by a part of "METHOD /path"."""

    def __init__(self, *, user: str = "somebody", cas: Path | None = None) -> None:
        """``cas``: where Xet's client keeps what it uploads; without it only LFS works (HF_HUB_DISABLE_XET=1)."""
        self.user = user
        self.access: dict[str, Any] = {"role": "write"}
        """What whoami says of the token."""
        self.repositories: dict[str, Repository] = {}
        self.instead: dict[str, Answer] = {}
        self.asked: list[str] = []
        """"METHOD /path" of each request, in order."""
        self.held_back = ""
        """Requests with this in them wait for ``released``."""
        self.held = threading.Event()
        """Set when one waits."""
        self.released = threading.Event()
        self.url = ""
        self._cas = cas
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, token: str, body: bytes) -> Answer:
        """What the Hub says to one request."""
        asked = f"{method} {path}"
        with self._lock:
            self.asked.append(asked)
        if self.held_back and self.held_back in asked:
            self.held.set()
            self.released.wait(30)
        for part, said in self.instead.items():
            if part in asked:
                return said
        if path.startswith("/objects/"):  # Addresses that the Hub hands out are signed; no token goes there.
            return self._take_object(path.removeprefix("/objects/"), body)
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid credentials in Authorization header"}
        with self._lock:
            return self._route(method, path, body)

    def _route(self, method: str, path: str, body: bytes) -> Answer:
        if path == "/api/whoami-v2":
            return 200, {"type": "user", "name": self.user, "auth": {"accessToken": self.access}}
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body))
        if path.endswith(".git/info/lfs/objects/batch"):
            return self._batch(json.loads(body))
        _, _, kind, user, name, *rest = path.split("/")
        repository = self.repositories.get(f"{user}/{name}")
        if kind != "models" or repository is None:
            return 404, {"error": "Repository not found"}
        action: Callable[[str, Repository, bytes], Answer] = {
            "tree": self._tree,
            "preupload": self._preupload,
            "xet-write-token": self._xet_token,
            "commit": self._commit,
        }[rest[0]]
        return action(f"{user}/{name}", repository, body)

    def _create(self, asked: dict[str, Any]) -> Answer:
        repo = f"{asked.get('organization') or self.user}/{asked['name']}"
        if not repo.startswith(f"{self.user}/"):
            return 403, {"error": "You don't have the rights to create a model under this namespace"}
        known = repo in self.repositories
        self.repositories.setdefault(repo, Repository())
        said = {"url": f"{self.url}/{repo}", "name": repo}
        return (409, {**said, "error": "You already created this model repo"}) if known else (200, said)

    def _validate(self, asked: dict[str, Any]) -> Answer:
        _, head, _ = asked["content"].split("---\n", 2)
        content = yaml.safe_load(head)
        errors = [] if isinstance(content, dict) and content.get("tags") else [{"message": "no metadata"}]
        return 200, {"errors": errors, "warnings": []}

    def _tree(self, name: str, repository: Repository, body: bytes) -> Answer:
        return 200, [
            {"type": "file", "path": name, "oid": "0" * 40, "size": len(repository.files.get(name, b""))}
            for name in sorted({*repository.files, *repository.large})
        ]

    def _preupload(self, name: str, repository: Repository, body: bytes) -> Answer:
        def mode(file: str) -> str:
            return "lfs" if file.endswith((".safetensors", ".bin")) else "regular"

        asked = json.loads(body)["files"]
        return 200, {
            "files": [{"path": f["path"], "uploadMode": mode(f["path"]), "shouldIgnore": False} for f in asked]
        }

    def _batch(self, asked: dict[str, Any]) -> Answer:
        objects = []
        for each in asked["objects"]:
            upload = {"upload": {"href": f"{self.url}/objects/{each['oid']}"}}
            objects.append({**each, **({} if each["oid"] in self._objects else {"actions": upload})})
        return 200, {"transfer": "basic", "objects": objects}

    def _take_object(self, oid: str, body: bytes) -> Answer:
        if hashlib.sha256(body).hexdigest() != oid:
            return 400, {"error": "the object is not what its name says"}
        with self._lock:
            self._objects[oid] = body
        return 200, b""

    def _xet_token(self, name: str, repository: Repository, body: bytes) -> Answer:
        if self._cas is None:
            return 404, {"error": "There is no Xet storage here"}
        expiry = int(time.time()) + 3600
        return 200, {"casUrl": f"local://{self._cas}", "exp": expiry, "accessToken": "xet-token"}

    def _commit(self, name: str, repository: Repository, body: bytes) -> Answer:
        lines = [json.loads(line) for line in body.splitlines()]
        message, files, deleted = "", [], []
        for value, key in ((line["value"], line["key"]) for line in lines):
            if key == "header":
                message = value["summary"]
            elif key == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
                files.append(value["path"])
            elif key == "lfsFile":
                if self._cas is None and value["oid"] not in self._objects:
                    return 400, {"error": f"{value['path']} was never uploaded"}
                repository.large[value["path"]] = value["oid"]
                if value["oid"] in self._objects:
                    repository.files[value["path"]] = self._objects[value["oid"]]
                files.append(value["path"])
            else:
                repository.files.pop(value["path"], None)
                repository.large.pop(value["path"], None)
                deleted.append(value["path"])
        repository.commits.append(Commit(message=message, files=tuple(files), deleted=tuple(deleted)))
        oid = f"{len(repository.commits):040x}"
        return 200, {"success": True, "commitOid": oid, "commitUrl": f"{self.url}/{name}/commit/{oid}"}

    @contextmanager
    def served(self) -> Iterator[ModelHub]:
        """Answers on loopback for as long as the context lasts."""
        with serving(_handler(self), released=self.released) as address:
            self.url = address
            yield self


def _handler(hub: ModelHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self._body()
            token = self.headers.get("authorization", "")
            status, content = hub.answer(self.command, urlsplit(self.path).path, token, body)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding", "") != "chunked":
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            pieces = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)

        do_GET = do_POST = do_PUT = do_HEAD = _answer

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    return Handler
