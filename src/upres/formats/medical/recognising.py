"""How DICOM and NIfTI are told from other files, without the libraries that read them.

Sources: DICOM PS3.10, section 7.1 (the preamble), and PS3.5, section 7.1 (data elements); the
NIfTI-1 and NIfTI-2 standards (``nifti1.h``, ``nifti2.h``).
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

DIRECTORY = "DICOMDIR"
"""The customary name of a file that lists others."""

HEADERS = {348: 344, 540: 4}
"""Sizes of NIfTI's headers, by which a file begins, and where their magic bytes are."""

_PREAMBLE, _ENOUGH = 128, 3
_LONG = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV")
_LARGEST = 2**16


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: by its preamble, or by its first elements where it has none."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    return head[_PREAMBLE : _PREAMBLE + 4] == b"DICM" or _is_bare(head)


def is_nifti(path: Path) -> bool:
    """Whether a file is NIfTI, be it compressed by gzip."""
    return bool(nifti_head(path))


def nifti_head(path: Path) -> bytes:
    """The header of a NIfTI file, and nothing of another file."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            head = file.read(max(HEADERS))
    except (OSError, EOFError, zlib.error):
        return b""
    for order in "<>":
        size = struct.unpack(f"{order}i", head[:4])[0] if len(head) >= 4 else 0
        if size in HEADERS and head[HEADERS[size] :][:3] in (b"n+1", b"n+2", b"ni1", b"ni2"):
            return head[:size]
    return b""


def _is_bare(head: bytes) -> bool:
    """Whether bytes are elements of groups 2 or 8, in order, as a file without preamble has."""
    at, before, count = 0, 0, 0
    while at + 8 <= len(head):
        group, element = struct.unpack_from("<HH", head, at)
        tag = group << 16 | element
        if group not in (2, 8) or tag < before or (count and tag == before):
            break
        kind, at = head[at + 4 : at + 6], at + 8
        if kind.isalpha() and kind.isupper():
            length = struct.unpack_from("<H", head, at - 2)[0]
            if kind in _LONG and at + 4 <= len(head):
                length, at = struct.unpack_from("<I", head, at)[0], at + 4
        else:
            length = struct.unpack_from("<I", head, at - 4)[0]
        if length > _LARGEST or length % 2:
            break
        before, count, at = tag, count + 1, at + length
    return count >= _ENOUGH
