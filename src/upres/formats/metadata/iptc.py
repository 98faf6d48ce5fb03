"""IPTC of an enlarged picture, among Photoshop's blocks as JPEG files have it, or bare.

Source: Photoshop File Formats Specification (Adobe, 2019), image resources.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from upres.formats.metadata.jpeg_segments import APP13, LONGEST_SEGMENT, Segment

PHOTOSHOP = b"Photoshop 3.0\0"
"""A segment of Photoshop's blocks begins with it; IPTC is one of them."""

_IPTC_BLOCK, _IPTC_DIGEST, _THUMBNAIL_BLOCKS = 0x0404, 0x0425, (0x0409, 0x040C)


def fitting(iptc: bytes, *, tiff: bool) -> bytes:
    """IPTC as TIFF holds it, bare, or as JPEG does, among Photoshop's blocks.

    Photoshop's preview of the small picture is left out.
    """
    if not iptc.startswith(PHOTOSHOP):
        return iptc if tiff else PHOTOSHOP + _block(_IPTC_BLOCK, b"\0\0", iptc)
    blocks = list(_blocks(iptc))
    if tiff:
        return b"".join(content for kind, _, content in blocks if kind == _IPTC_BLOCK)
    kept = (_block(*block) for block in blocks if block[0] not in _THUMBNAIL_BLOCKS)
    return PHOTOSHOP + b"".join(kept)


def has_captions(blocks: bytes) -> bool:
    """Whether there is IPTC, bare or among Photoshop's blocks."""
    if not blocks.startswith(PHOTOSHOP):
        return bool(blocks)
    return any(kind == _IPTC_BLOCK and content for kind, _, content in _blocks(blocks))


def has_others(blocks: bytes) -> bool:
    """Whether there are blocks of Photoshop's that are no IPTC, no digest of it, no preview."""
    if not blocks.startswith(PHOTOSHOP):
        return False
    known = (_IPTC_BLOCK, _IPTC_DIGEST, *_THUMBNAIL_BLOCKS)
    return any(kind not in known for kind, *_ in _blocks(blocks))


def whole(segments: Iterable[Segment]) -> bytes:
    """The Photoshop blocks of a JPEG file that has several segments of them; else nothing."""
    parts = [
        content.removeprefix(PHOTOSHOP)
        for _, marker, content in segments
        if marker == APP13 and content.startswith(PHOTOSHOP)
    ]
    return PHOTOSHOP + b"".join(parts) if len(parts) > 1 else b""


def split(blocks: bytes) -> list[tuple[int, bytes]]:
    """Photoshop's blocks as segments: where the next begins is no border of a block."""
    size = LONGEST_SEGMENT - len(PHOTOSHOP)
    blocks = blocks.removeprefix(PHOTOSHOP)
    return [(APP13, PHOTOSHOP + blocks[at : at + size]) for at in range(0, len(blocks), size)]


def _blocks(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, name and content of Photoshop's image resource blocks."""
    at = len(PHOTOSHOP)
    while content[at : at + 4] == b"8BIM" and at + 7 <= len(content):
        kind = int.from_bytes(content[at + 4 : at + 6], "big")
        name_end = at + 6 + (content[at + 6] // 2 + 1) * 2
        length = int.from_bytes(content[name_end : name_end + 4], "big")
        start = name_end + 4
        yield kind, content[at + 6 : name_end], content[start : start + length]
        at = start + length + length % 2


def _block(kind: int, name: bytes, content: bytes) -> bytes:
    head = b"8BIM" + kind.to_bytes(2, "big") + name + len(content).to_bytes(4, "big")
    return head + content + bytes(len(content) % 2)
