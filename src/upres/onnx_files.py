"""The entries of text that an ONNX file has beside its network, and that one's digest.

They are read without any library.

Source of the format: ``ModelProto`` and ``StringStringEntryProto`` in ONNX's ``onnx.proto``, and
Protocol Buffers' encoding.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from upres.errors import ModelError

if TYPE_CHECKING:
    import onnx


def read_entry(path: Path, key: str) -> str | None:
    """The text of an entry in a model file's metadata; ``None`` if the file has no such entry.

    No engine is needed for that: the entries are at the top level of an ONNX file, and the
    network, which is another field there, is passed over.

    Raises ``ModelError`` if the file cannot be read, is not an ONNX file or is damaged there.
    """
    text = None
    has_network = False
    with _top_level(path) as (file, fields):
        for field_number, length in fields:
            has_network |= field_number == _NETWORK
            if field_number == _METADATA:
                # Of several, the last counts, as Protocol Buffers has it.
                text = _metadata(file, length).get(key, text)
        if not has_network:
            raise ValueError("there is no network in it")
    return text


def network_digest(path: Path) -> str:
    """The SHA-256 of a model file's network with its weights, in hexadecimal.

    The metadata count nothing: scores may be written into a card.

    Raises ``ModelError`` as ``read_entry`` does.
    """
    digest = hashlib.sha256()
    with _top_level(path) as (file, fields):
        for field_number, length in fields:
            if field_number == _NETWORK:
                digest.update(file.read(length))
    return digest.hexdigest()


def write_entry(proto: onnx.ModelProto, key: str, text: str) -> None:
    """Set an entry in an ONNX model's metadata; the others stay as they are."""
    for entry in proto.metadata_props:
        if entry.key == key:
            entry.value = text
            return
    proto.metadata_props.add(key=key, value=text)


_NETWORK, _METADATA = 7, 14
"""The fields of ``ModelProto`` that are called ``graph`` and ``metadata_props``."""

_BYTES_OF_FIXED = {1: 8, 5: 4}
"""How long a value of that wire type is."""


@contextmanager
def _top_level(path: Path) -> Iterator[tuple[BinaryIO, Iterator[tuple[int, int]]]]:
    """The file, and the fields at its top level; errors of reading become ``ModelError``."""
    try:
        with path.open("rb") as file:
            yield file, _fields(file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise ModelError(f"{path}: cannot read this model file: {error.strerror}") from None
    except ValueError as error:  # UnicodeDecodeError is one
        raise ModelError(f"{path}: not an ONNX model, or a damaged one: {error}") from None


def _metadata(file: BinaryIO, length: int) -> dict[str, str]:
    """The entry that comes next in the file: its key and value, which are fields 1 and 2."""
    parts = {
        field_number: file.read(size).decode()
        for field_number, size in _fields(file, file.tell() + length)
    }
    return {parts.get(1, ""): parts.get(2, "")}


def _fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """The fields of a message that ends at ``end`` and have a length: their number and that.

    The file is then where the field's content begins. Raises ``ValueError`` if there is no
    message.
    """
    while (start := file.tell()) < end:
        field_number, wire_type = divmod(_varint(file), 8)
        length = 0
        if wire_type == 0:
            _varint(file)
        elif wire_type == 2:
            length = _varint(file)
        elif wire_type in _BYTES_OF_FIXED:
            length = _BYTES_OF_FIXED[wire_type]
        else:
            raise ValueError(f"at byte {start} there is no field")
        content = file.tell()
        if field_number == 0:
            raise ValueError(f"at byte {start} there is no field")
        if content + length > end:
            raise ValueError(f"the field at byte {start} is longer than the message around it")
        if wire_type == 2:
            yield field_number, length
        file.seek(content + length)


def _varint(file: BinaryIO) -> int:
    """The whole number that comes next, of 7 bits a byte, the lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("it ends in the middle of a number")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError(f"the number before byte {file.tell()} has no end")
