"""PBM, PGM, PPM and PAM, in numbers or bytes, with the largest sample that each file names.

Written here, as no library keeps all of them: the base's libvips has none of them; Pillow gives
colours of 16 bits as 8, and other largest samples than 255 scaled; imageio does it by Pillow; and
all take the whole picture at once, where these are rows that follow each other. Source: the manual
pages of Netpbm, pbm(5), pgm(5), ppm(5) and pam(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from upres.errors import InputError, OutputError
from upres.formats.image.rows_sink import RowsSink
from upres.formats.metadata.carried import Carried, fewer_bits, nothing_carried
from upres.raster.info import Band, RasterInfo, Role, usual_roles
from upres.raster.pixels import Float32Array, from_bands
from upres.raster.source import Rows, Sink, Source
from upres.raster.spool import Spool

_BLOCK_BYTES = 2**22
_TEXT_BYTES = 2**20
_HEADER_BYTES = 2**14
"""Most of them are comments."""

_COMMENT = re.compile(rb"#[^\r\n]*")
_LAST_WORD = re.compile(rb"\S*\Z")

_TUPLES: dict[str, tuple[Role, ...]] = {
    "BLACKANDWHITE": ("grey",),
    "GRAYSCALE": ("grey",),
    "RGB": ("red", "green", "blue"),
    "CMYK": ("ink", "ink", "ink", "ink"),
}
"""PAM's names of its kinds of pixels, each also with ``_ALPHA`` at its end."""


@dataclass(frozen=True)
class NetpbmHeader:
    """The words of a file on its samples."""

    kind: int
    """The digit of its magic number."""
    width: int
    height: int
    depth: int
    most: int
    """The largest sample, called maxval."""
    start: int
    """Where its samples begin."""
    tuple_type: str = ""

    @property
    def row_bytes(self) -> int:
        """Of binary samples."""
        if self.kind == 4:
            return -(-self.width // 8)
        return self.width * self.depth * (2 if self.most > 255 else 1)


@dataclass(frozen=True)
class NetpbmCarried(Carried):
    """All that goes from a file of these formats to another, beside samples."""

    tuple_type: str = ""


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a file of Netpbm's; see ``upres.formats.registry``."""
    return [_NetpbmSource(path)]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of a file, of the format that its suffix names; see ``upres.formats.registry``."""
    return RowsSink(path, _NetpbmEncoder)


def read_header(path: Path) -> NetpbmHeader:
    """Read a file's words on its samples; raises ``InputError`` if they are wrong."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    kind = int(head[1:2])
    if kind == 7:
        return _checked(path, _pam_header(path, head))
    names = 2 if kind in (1, 4) else 3
    gap = rb"(?:\s|#[^\n]*\n)+"
    match = re.match(rb"P\d" + (gap + rb"(\d{1,10})") * names + rb"(?:#[^\n]*)?\s", head)
    if match is None:
        raise InputError(f"{path}: this picture is damaged or truncated: its header has no sizes")
    width, height, *most = map(int, match.groups())
    depth = 3 if kind in (3, 6) else 1
    return _checked(
        path, NetpbmHeader(kind, width, height, depth, most[0] if most else 1, match.end())
    )


class _NetpbmSource:
    """A picture of Netpbm's; see ``upres.raster.source``."""

    def __init__(self, path: Path) -> None:
        self._path, self._header = path, read_header(path)
        header = self._header
        # Of black and white, the result has greys.
        self._bits = header.most == 1
        most = 255 if self._bits else header.most
        self._dtype = np.dtype(np.uint8 if most < 256 else np.uint16)
        roles = _roles(header)
        self.info = RasterInfo(
            height=header.height,
            width=header.width,
            bands=tuple(Band(role, 0.0, float(most)) for role in roles),
            dtype=self._dtype,
            name=str(path),
            colours="none" if "other" in roles else "srgb",
        )
        self.carried = NetpbmCarried(
            nothing_carried().image,
            path=path,
            lossy=fewer_bits((header.most + 1).bit_length() - 1),
            tuple_type=header.tuple_type,
        )

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        """The picture, in blocks of rows."""
        yield self._rows()

    def _rows(self) -> Iterator[Rows]:
        header = self._header
        with self._path.open("rb") as file:
            file.seek(header.start)
            parts = self._read_text(file) if header.kind <= 3 else self._read_bytes(file)
            for samples in parts:
                if samples.max(initial=0) > header.most:
                    raise self._damaged(f"a sample is above {header.most}, its largest")
                if header.kind in (1, 4):
                    samples = 1 - samples  # 1 is ink there
                if self._bits:
                    samples = samples * 255
                yield samples.astype(self._dtype).reshape(-1, header.width, header.depth)
            rest = file.read(64).split()
        if rest and re.match(rb"P[1-7Ff]", rest[0]):
            raise self._several()

    def _read_bytes(self, file: BinaryIO) -> Iterator[NDArray[Any]]:
        header = self._header
        stored = np.dtype(">u2") if header.most > 255 else np.dtype(np.uint8)
        count = max(1, _BLOCK_BYTES // header.row_bytes)
        for top in range(0, header.height, count):
            wanted = min(count, header.height - top) * header.row_bytes
            content = file.read(wanted)
            if len(content) < wanted:
                raise self._damaged("its samples end early")
            samples: NDArray[Any] = np.frombuffer(content, stored)
            if header.kind == 4:
                rows = samples.reshape(-1, header.row_bytes)
                samples = np.unpackbits(rows, axis=1)[:, : header.width]
            yield samples

    def _read_text(self, file: BinaryIO) -> Iterator[NDArray[Any]]:
        """Numbers; those of P1 need nothing between them."""
        header = self._header
        row, missing = header.width * header.depth, header.height
        left, cut = np.empty(0, np.int64), b""
        while missing:
            content = file.read(_TEXT_BYTES)
            text = cut + content
            end = len(text)
            if content and b"#" in text:
                end = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
            elif content and header.kind != 1:
                # A number may go on in the next bytes.
                match = _LAST_WORD.search(text, max(0, end - 16))
                end = match.start() if match else end
            if len(text) - end > _TEXT_BYTES:
                raise self._damaged("a line of its samples has no end")
            cut, text = text[end:], _COMMENT.sub(b" ", text[:end])
            left = np.concatenate([left, self._numbers(text)])
            rows = min(missing, len(left) // row)
            if rows:
                yield left[: rows * row]
                left, missing = left[rows * row :], missing - rows
            if missing and not content:
                raise self._damaged("its samples end early")
        self._numbers(_COMMENT.sub(b" ", cut + file.read(_TEXT_BYTES)))

    def _numbers(self, text: bytes) -> NDArray[np.int64]:
        if b"P" in text:
            raise self._several()
        if self._header.kind == 1:
            digits = np.frombuffer(b"".join(text.split()), np.uint8).astype(np.int64) - ord("0")
            if ((digits < 0) | (digits > 1)).any():
                raise self._damaged("a sample is neither 0 nor 1")
            return digits
        words = text.split()
        if max(map(len, words), default=0) > 9 or not all(map(bytes.isdigit, words)):
            raise self._damaged("a sample is no number")
        return np.array(words, dtype=np.bytes_).astype(np.int64) if words else np.empty(0, np.int64)

    def _several(self) -> InputError:
        return InputError(
            f"{self._path}: has several pictures, and upres would lose all but the first: "
            "take them apart with pamsplit"
        )

    def _damaged(self, reason: str) -> InputError:
        return InputError(f"{self._path}: this picture is damaged or truncated: {reason}")


class _NetpbmEncoder:
    """See ``rows_sink.Encoder``."""

    def __init__(self, target: Path, info: RasterInfo, carried: Carried) -> None:
        suffix, self._info = target.suffix.lower(), info
        bands = info.bands if suffix == ".pam" else info.varying
        colour = not info.find("grey", "other", "ink")
        if suffix == ".pgm" and colour:
            raise OutputError(f"{target}: .pgm cannot hold colours: choose .ppm or .png")
        own = info.dtype.name in ("uint8", "uint16")
        self.dtype: np.dtype[Any] = np.dtype(np.uint8 if info.dtype.itemsize == 1 else np.uint16)
        highs = {band.high for band in info.bands}
        whole = 255 if self.dtype.itemsize == 1 else 65535
        self._most = int(highs.pop() or whole) if own and len(highs) == 1 else whole
        self._bands = tuple(Band(band.role, 0.0, float(self._most)) for band in info.varying)
        if info.find("other"):
            self._bands = info.varying
        # Of a picture of colours, each grey three times.
        self._repeats = 3 if suffix == ".ppm" and not colour else 1
        self.channels = len(bands) * self._repeats
        self._tuple = ""
        if suffix == ".pam":
            colours = tuple(band.role for band in bands if band.role != "alpha")
            kind = next(
                (k for k, r in _TUPLES.items() if k != "BLACKANDWHITE" and r == colours), ""
            )
            alpha = "_ALPHA" if bands[-1].role == "alpha" else ""
            told = carried.tuple_type if isinstance(carried, NetpbmCarried) else ""
            self._tuple = kind + alpha if kind else told

    def samples(self, block: Float32Array) -> NDArray[Any]:
        stored = from_bands(block, self._bands, self.dtype)
        if self._repeats > 1:
            return np.repeat(stored, self._repeats, axis=2)
        if stored.shape[2] < self.channels:  # alpha that is opaque throughout
            opaque = np.full((*stored.shape[:2], 1), self._most, self.dtype)
            return np.concatenate([stored, opaque], axis=2)
        return stored

    def encode(self, path: Path, spool: Spool) -> None:
        height, width, depth = spool.shape
        if path.suffix.lower() == ".pam":
            told = f"TUPLTYPE {self._tuple}\n" if self._tuple else ""
            head = (
                f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {depth}\nMAXVAL {self._most}\n"
                f"{told}ENDHDR\n"
            )
        else:
            head = f"P{6 if depth == 3 else 5}\n{width} {height}\n{self._most}\n"
        # Netpbm goes by the largest sample alone.
        stored = np.dtype(">u2" if self._most > 255 else np.uint8)
        with path.open("wb") as file:
            file.write(head.encode("latin-1"))
            for block in spool.blocks():
                file.write(np.ascontiguousarray(block, stored).data)


def _pam_header(path: Path, head: bytes) -> NetpbmHeader:
    text, end, _ = head.partition(b"ENDHDR\n")
    if not end:
        raise InputError(f"{path}: this picture is damaged or truncated: its header has no end")
    sizes, types = {}, []
    for line in text.splitlines()[1:]:
        name, _, value = line.strip().decode("latin-1").partition(" ")
        if name == "TUPLTYPE":
            types.append(value.strip())
        elif name and not name.startswith("#"):
            sizes[name] = value.strip()
    try:
        width, height, depth, most = (
            int(sizes[name]) for name in ("WIDTH", "HEIGHT", "DEPTH", "MAXVAL")
        )
    except (KeyError, ValueError):
        raise InputError(
            f"{path}: this picture is damaged or truncated: its header has no sizes"
        ) from None
    return NetpbmHeader(7, width, height, depth, most, len(text) + len(end), " ".join(types))


def _checked(path: Path, header: NetpbmHeader) -> NetpbmHeader:
    if not (0 < header.width < 2**31 and 0 < header.height < 2**31 and 0 < header.depth <= 256):
        raise InputError(
            f"{path}: says that it has {header.width}x{header.height} pixels of {header.depth} "
            "samples, which no picture has"
        )
    if not 0 < header.most < 2**16:
        raise InputError(f"{path}: says that its largest sample is {header.most}, not 1 to 65535")
    return header


def _roles(header: NetpbmHeader) -> tuple[Role, ...]:
    """The roles of a file's samples; of a kind that is not known, ``other`` each."""
    if header.tuple_type:
        name = header.tuple_type.removesuffix("_ALPHA")
        known = _TUPLES.get(name, ())
        alpha: tuple[Role, ...] = ("alpha",) if known and name != header.tuple_type else ()
        roles = known + alpha
    else:
        roles = usual_roles(header.depth) or ()
    return roles if len(roles) == header.depth else tuple("other" for _ in range(header.depth))
