"""PNG's own word on what its colours mean, which libvips neither reads nor writes.

Source: PNG, third edition (W3C, 2025), section 11.3.2.
"""

from __future__ import annotations

from pathlib import Path

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = len(_SIGNATURE) + 12 + 13
"""Where the first chunk, IHDR, ends: the chunks on colour may follow there."""

_COLOUR = (b"cICP", b"sRGB", b"gAMA", b"cHRM")
_BESIDE_PROFILE = (b"cICP",)
"""What counts although there is an ICC profile, which libvips sees to."""

_BLOCK = 2**20


def read(path: Path) -> bytes:
    """A PNG file's chunks on colour, as they stand in it; of another file, nothing."""
    chunks: dict[bytes, bytes] = {}
    with path.open("rb") as file:
        if file.read(len(_SIGNATURE)) != _SIGNATURE:
            return b""
        while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
            length = int.from_bytes(head[:4], "big") + 4  # with its checksum
            if head[4:] in _COLOUR and length < _BLOCK:
                chunks[head[4:]] = head + file.read(length)
            else:
                chunks[head[4:]] = b""
                file.seek(length, 1)
    kept = _BESIDE_PROFILE if b"iCCP" in chunks else _COLOUR
    return b"".join(chunks.get(kind, b"") for kind in kept)


def add(path: Path, chunks: bytes) -> None:
    """Put chunks into a PNG file, behind its header; the rest moves up, block by block."""
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        while end > _HEADER_END:
            start = max(_HEADER_END, end - _BLOCK)
            file.seek(start)
            block = file.read(end - start)
            file.seek(start + len(chunks))
            file.write(block)
            end = start
        file.seek(_HEADER_END)
        file.write(chunks)
