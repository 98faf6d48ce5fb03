"""Models in repositories of Hugging Face: ``hf://owner/name`` or ``hf://owner/name@revision``.

Only an ``.onnx`` file is ever fetched, which is data and no program, and only when such a name is
given. It is kept in Hugging Face's own cache, and its hash is compared with the repository's.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from upres.errors import ModelError, needs_extra

SCHEME = "hf://"

_REFERENCE = re.compile(
    r"hf://(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+(/[\w.-]+)*))?", re.ASCII
)
_SCALE = re.compile(r"-x([1-8])\.onnx$", re.IGNORECASE)


@dataclass(frozen=True)
class Listing:
    """The files of a revision of a repository."""

    hashes: dict[str, str]
    """SHA-256 of a file by its name, or the SHA-1 that git knows it by."""


def is_reference(model: str) -> bool:
    """Whether a model's name is one of a repository."""
    return model.startswith(SCHEME)


@lru_cache(maxsize=64)
def fetched(reference: str, scale: int | None = None) -> Path:
    """The ``.onnx`` file of a repository, from the cache or the network.

    Of several, the one whose name ends in ``-x`` and ``scale``, and without a scale the largest.
    Within a process, a repository is asked once. Without a network, the cache serves.

    Raises ``ModelError`` if that is no name of a repository, there is no such repository, revision
    or file, it cannot be fetched, or it is not what the repository says; ``MissingExtraError``
    without the package.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ModelError(
            f"{reference}: not a repository's name: give hf://owner/name or "
            "hf://owner/name@revision"
        )
    with needs_extra(f"model {reference}", "hub"):
        import huggingface_hub as hub

    repository, revision = match["repository"], match["revision"] or "main"
    listing = _listing(reference, repository, revision)
    if listing is None:
        return _from_cache(reference, repository, revision, scale)
    name = chosen(reference, list(listing.hashes), scale)
    try:
        path = Path(hub.hf_hub_download(repository, name, revision=revision))
    except Exception as error:  # of its HTTP library, too
        raise ModelError(f"{reference}: cannot fetch {name}: {_first_line(error)}") from error
    _check(reference, path, listing.hashes[name])
    return path


def chosen(reference: str, names: list[str], scale: int | None) -> str:
    """Which of a repository's files is the model.

    Raises ``ModelError`` if there is none, none of that scale, or no telling which.
    """
    models = sorted(name for name in names if name.lower().endswith(".onnx"))
    if not models:
        raise ModelError(f"{reference}: holds no .onnx file, and upres fetches nothing else")
    if len(models) == 1:
        return models[0]
    by_scale: dict[int, str] = {}
    for name in models:
        found = _SCALE.search(name)
        if found is None or int(found[1]) in by_scale:
            raise ModelError(
                f"{reference}: holds several .onnx files, and their names do not tell one for each "
                f"scale: {', '.join(models[:4])}: download one, and give its path"
            )
        by_scale[int(found[1])] = name
    if scale is not None and scale not in by_scale:
        known = ", ".join(map(str, sorted(by_scale)))
        raise ModelError(f"{reference}: has no scale {scale}: it has {known}")
    return by_scale[max(by_scale) if scale is None else scale]


def _listing(reference: str, repository: str, revision: str) -> Listing | None:
    """The files of the repository; ``None`` where it cannot be asked."""
    import huggingface_hub as hub
    from huggingface_hub import constants, errors

    where = constants.ENDPOINT
    try:
        info = hub.HfApi().model_info(repository, revision=revision, files_metadata=True)
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{reference}: its owner wants consent first: give it at {where}/{repository}"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(f"{reference}: no such repository at {where}, or a private one") from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{reference}: the repository has no such revision") from error
    except Exception:  # of its HTTP library, whichever that is
        return None
    return Listing({file.rfilename: _hash(file) for file in info.siblings or ()})


def _hash(file: Any) -> str:
    return str(file.lfs.sha256 if file.lfs else file.blob_id)


def _from_cache(reference: str, repository: str, revision: str, scale: int | None) -> Path:
    import huggingface_hub as hub
    from huggingface_hub import constants

    try:
        folder = Path(hub.snapshot_download(repository, revision=revision, local_files_only=True))
    except Exception as error:  # as above
        raise ModelError(
            f"{reference}: {constants.ENDPOINT} cannot be reached, and the cache does not have "
            "this model"
        ) from error
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    path = folder / chosen(reference, names, scale)
    # The cache calls a file by the hash that the repository gave, and links to it.
    _check(reference, path, path.resolve().name)
    return path


def _check(reference: str, path: Path, expected: str) -> None:
    """Raise ``ModelError``, and let the cache forget the file, if it has another hash."""
    content = path.read_bytes()
    if len(expected) == 40:  # as git has it: source, "Git Objects" in Pro Git
        actual = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    else:
        actual = hashlib.sha256(content).hexdigest()
    if actual != expected:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise ModelError(
            f"{reference}: {path.name} is not the file that the repository names: its hash is "
            f"{actual[:12]}, not {expected[:12]}: try again"
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
