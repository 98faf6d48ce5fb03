"""Comments in JPEG and GIF files, which libvips does not write.

Sources: ITU-T T.81, section B.2.4.5 (COM); GIF89a specification (CompuServe, 1990), section 24.
"""

from __future__ import annotations

from pathlib import Path

from upres.files import splice
from upres.formats.jpeg import LONGEST_SEGMENT, jpeg_segments

_COM = 0xFE
_GIF = (b"GIF87a", b"GIF89a")


def read(path: Path) -> list[bytes]:
    """The comments of a JPEG or GIF file; of another file, none."""
    with path.open("rb") as file:
        if file.read(6) not in _GIF:
            return [content for marker, content in jpeg_segments(path) if marker == _COM]
        comments = []
        file.seek(_gif_start(path))
        while head := file.read(1):
            if head == b"\x21":
                is_comment = file.read(1) == b"\xfe"
                content = b""
                while length := int.from_bytes(file.read(1), "big"):
                    content += file.read(length)
                if is_comment:
                    comments.append(content)
            elif head == b"\x2c":
                size = file.read(9)
                if len(size) == 9 and size[8] & 0x80:
                    file.seek(3 * 2 ** (size[8] % 8 + 1), 1)
                file.seek(1, 1)
                while length := int.from_bytes(file.read(1), "big"):
                    file.seek(length, 1)
            else:  # the end, or what no file should have
                break
    return comments


def to_segments(comments: list[bytes]) -> list[tuple[int, bytes]]:
    """Comments as segments of a JPEG file, marker and content of each."""
    return [(_COM, comment[:LONGEST_SEGMENT]) for comment in comments]


def add_to_gif(path: Path, comments: list[bytes]) -> None:
    """Put comments into a GIF file that has none."""
    if comments:
        content = b"".join(b"\x21\xfe" + _sub_blocks(comment) for comment in comments)
        start = _gif_start(path)
        splice(path, start, start, content)


def _gif_start(path: Path) -> int:
    """Where a GIF file's blocks begin: behind its header and its table of colours."""
    with path.open("rb") as file:
        head = file.read(13)
    table = 3 * 2 ** (head[10] % 8 + 1) if len(head) == 13 and head[10] & 0x80 else 0
    return 13 + table


def _sub_blocks(content: bytes) -> bytes:
    parts = [content[i : i + 255] for i in range(0, len(content), 255)]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
