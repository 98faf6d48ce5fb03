"""Models from repositories, by a server of our own that answers as Hugging Face's does."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import pyvips

from upres.errors import MissingExtraError, ModelError
from upres.models import open_model
from upres.models.hub import chosen, fetched

pytest.importorskip("huggingface_hub")

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repository:
    """``someone/fine``, with its revisions ``main`` and ``v1``."""

    files: dict[str, bytes]
    claimed: dict[str, bytes] = field(default_factory=dict)
    """What the listing says that a file is, where that is not so."""
    asked: list[str] = field(default_factory=list)
    address: str = ""


class _Answers(BaseHTTPRequestHandler):
    repository: Repository

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        own, path = self.repository, unquote(urlsplit(self.path).path)
        own.asked.append(f"{self.command} {path}")
        api, resolve = "/api/models/someone/", "/someone/fine/resolve/"
        if path.startswith(api):
            name, _, revision = path.removeprefix(api).partition("/revision/")
            if name != "fine":
                return self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
            if revision not in ("", "main", "v1", COMMIT):
                return self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
            listing = {
                "id": "someone/fine",
                "sha": COMMIT,
                "siblings": [self._sibling(name) for name in own.files],
            }
            return self._answer(200, json.dumps(listing).encode(), {})
        if path.startswith(resolve):
            name = path.removeprefix(resolve).partition("/")[2]
            if name in own.files:
                digest = hashlib.sha256(self._claimed(name)).hexdigest()
                headers = {
                    "X-Repo-Commit": COMMIT,
                    "ETag": f'"{digest}"',
                    "X-Linked-Etag": f'"{digest}"',
                    "X-Linked-Size": str(len(own.files[name])),
                }
                return self._answer(200, own.files[name], headers)
        return self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})

    def _claimed(self, name: str) -> bytes:
        return self.repository.claimed.get(name, self.repository.files[name])

    def _sibling(self, name: str) -> dict[str, object]:
        content = self._claimed(name)
        digest = hashlib.sha256(content).hexdigest()
        lfs = {"sha256": digest, "size": len(content), "pointerSize": 130}
        return {"rfilename": name, "size": len(content), "blobId": "0" * 40, "lfs": lfs}

    def _answer(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def repository(model_file: Path) -> Iterator[Repository]:
    served = Repository({"fine-x2.onnx": model_file.read_bytes(), "README.md": b"# fine\n"})
    handler = type("Answers", (_Answers,), {"repository": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    served.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


def enlarge(
    folder: Path, endpoint: str, reference: str, *options: str
) -> subprocess.CompletedProcess[str]:
    """Enlarge a picture by the command, which keeps its cache in ``folder``."""
    pyvips.Image.black(9, 7, bands=3).copy(interpretation="srgb").pngsave(str(folder / "a.png"))
    home = str(folder / "home")
    return subprocess.run(
        [sys.executable, "-m", "upres", "enlarge", "a.png", "-f", "-m", reference, *options],
        cwd=folder,
        env=os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": home, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def assert_refused(result: subprocess.CompletedProcess[str], said: str) -> None:
    lines = result.stderr.splitlines()
    assert (result.returncode, len(lines)) == (1, 1), result.stderr
    assert lines[0].startswith("upres: ")
    assert said in lines[0]


@pytest.mark.parametrize("revision", ["", "@main", "@v1", f"@{COMMIT}"])
def test_a_model_is_fetched_once_and_then_is_in_the_cache(
    tmp_path: Path, repository: Repository, revision: str
) -> None:
    reference = f"hf://someone/fine{revision}"
    result = enlarge(tmp_path, repository.address, reference)
    assert (result.returncode, result.stderr) == (0, "wrote a_x2.png\n")
    fetches = [line for line in repository.asked if line.startswith("GET /someone")]
    assert len(fetches) == 1
    assert fetches[0].endswith("/fine-x2.onnx")
    result = enlarge(tmp_path, repository.address, reference)
    assert result.returncode == 0
    assert [line for line in repository.asked if line.startswith("GET /someone")] == fetches
    # Without a network it is there, too, and what it did not fetch is not.
    result = enlarge(tmp_path, "http://127.0.0.1:9", reference)
    assert (result.returncode, result.stderr) == (0, "wrote a_x2.png\n")
    result = enlarge(tmp_path, "http://127.0.0.1:9", "hf://someone/other")
    assert_refused(
        result, "hf://someone/other: http://127.0.0.1:9 cannot be reached, and the cache"
    )


def test_nothing_is_asked_where_no_repository_is_named(
    tmp_path: Path, repository: Repository
) -> None:
    assert enlarge(tmp_path, repository.address, "fast").returncode == 0
    assert repository.asked == []


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("hf://someone/none", "hf://someone/none: no such repository at http://127.0.0.1:"),
        ("hf://someone/fine@v2", "hf://someone/fine@v2: the repository has no such revision"),
        ("hf://someone", "hf://someone: not a repository's name: give hf://owner/name or"),
        ("hf://someone/fine/a.onnx", "not a repository's name"),
    ],
)
def test_what_there_is_not(
    tmp_path: Path, repository: Repository, reference: str, said: str
) -> None:
    assert_refused(enlarge(tmp_path, repository.address, reference), said)


class Bomb:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.victim),)


def test_a_pickle_is_not_even_fetched(tmp_path: Path, repository: Repository) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "ran"))
    repository.files = {"model.pth": bomb, "model.pt": bomb, "pytorch_model.bin": bomb}
    result = enlarge(tmp_path, repository.address, "hf://someone/fine")
    assert_refused(result, "hf://someone/fine: holds no .onnx file, and upres fetches nothing else")
    assert not [line for line in repository.asked if "resolve" in line]
    # One that is called so is no ONNX file.
    repository.files = {"model.onnx": bomb}
    assert_refused(enlarge(tmp_path, repository.address, "hf://someone/fine"), "not an ONNX model")
    assert not (tmp_path / "ran").exists()


def test_another_file_than_the_repository_names_is_refused_and_forgotten(
    tmp_path: Path, repository: Repository
) -> None:
    content = repository.files["fine-x2.onnx"]
    repository.claimed["fine-x2.onnx"] = content[:-1] + b"!"
    result = enlarge(tmp_path, repository.address, "hf://someone/fine")
    assert_refused(result, "fine-x2.onnx is not the file that the repository names: its hash is")
    del repository.claimed["fine-x2.onnx"]
    assert enlarge(tmp_path, repository.address, "hf://someone/fine").returncode == 0
    # And one that has changed in the cache since.
    (blob,) = (
        path
        for path in (tmp_path / "home/hub").rglob("*")
        if path.is_file() and path.read_bytes() == content and not path.is_symlink()
    )
    blob.write_bytes(content[:-1] + b"?")
    result = enlarge(tmp_path, "http://127.0.0.1:9", "hf://someone/fine")
    assert_refused(result, "is not the file that the repository names")
    assert not blob.exists()


def test_which_file_is_the_model() -> None:
    several = ["a-x2.onnx", "a-x4.onnx", "a-x4-compact.safetensors", "README.md"]
    assert chosen("hf://o/n", several, None) == "a-x4.onnx"
    assert chosen("hf://o/n", several, 2) == "a-x2.onnx"
    assert chosen("hf://o/n", ["onnx/model.onnx"], 3) == "onnx/model.onnx"
    with pytest.raises(ModelError, match=r"^hf://o/n: has no scale 3: it has 2, 4$"):
        chosen("hf://o/n", several, 3)
    for names in (["a.onnx", "b.onnx"], ["a-x2.onnx", "b-x2.onnx"]):
        with pytest.raises(ModelError, match=r"do not tell one for each scale: .* its path$"):
            chosen("hf://o/n", names, 2)


def test_the_package_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    fetched.cache_clear()
    with pytest.raises(MissingExtraError, match=r"hf://o/n.*pip install 'upres\[hub\]'"):
        open_model("hf://o/n")
