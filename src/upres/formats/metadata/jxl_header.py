"""A JPEG XL codestream's header: read without decoding, and its colours told anew.

Source: ISO/IEC 18181-1:2024, annexes B (fields) and D (image header).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from upres.formats.metadata.jxl_icc import encoded_profile

HEADER_BYTES = 2**12
"""Of a codestream, within which its header ends, apart from a profile."""

ALPHA = 0
"""The type of an extra channel that is alpha."""

RGB, GREY = 0, 1
D65, SRGB_PRIMARIES, BT2100, P3 = 1, 1, 9, 11
BT709_TRANSFER, LINEAR, SRGB_TRANSFER, PQ, HLG = 1, 8, 13, 16, 18

_SIZE = ((9, 1), (13, 1), (18, 1), (30, 1))
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_CUSTOM = 2
_COORDINATE = ((19, 0), (19, 524288), (20, 1048576), (21, 2097152))
_ENUM = ((0, 0), (0, 1), (4, 2), (6, 18))
_SPOT, _CFA = 2, 5


@dataclass(frozen=True)
class Colour:
    """A codestream's words on its colours; numbers are those of ISO/IEC 18181-1, annex E.2."""

    has_profile: bool = False
    space: int = RGB
    white: int = D65
    primaries: int = SRGB_PRIMARIES
    transfer: int | None = SRGB_TRANSFER
    """``None`` if it is a power."""


@dataclass(frozen=True)
class Extra:
    """A channel beside colours."""

    kind: int
    bits: int
    is_float: bool
    premultiplied: bool


@dataclass(frozen=True)
class JxlHeader:
    """A codestream's words on its picture."""

    height: int
    """As it is stored: before it is turned."""
    width: int
    orientation: int
    animated: bool
    bits: int
    is_float: bool
    extras: tuple[Extra, ...]
    is_xyb: bool
    """Whether colours are stored as eyes see them, which loses something."""
    colour: Colour
    is_modular: bool | None
    """Whether the first frame is stored as samples, not as waves; ``None`` if that is not seen."""
    places: tuple[int, int, int]
    """In bits: where the colours begin and end, and where the header ends."""

    @property
    def may_be_lossless(self) -> bool:
        """Whether nothing in it shows that something was lost."""
        return not self.is_xyb and self.is_modular is not False


class _Bits:
    """Reads numbers of some bits, the least significant bit of the first byte first."""

    def __init__(self, content: bytes) -> None:
        self._value, self._count = int.from_bytes(content, "little"), 8 * len(content)
        self.at = 0

    def take(self, count: int) -> int:
        if self.at + count > self._count:
            raise struct.error("the header is cut short")
        result = self._value >> self.at & ((1 << count) - 1)
        self.at += count
        return result

    def flag(self) -> bool:
        return bool(self.take(1))

    def choice(self, *kinds: tuple[int, int]) -> int:
        """One of four: a number of so many bits, and a number to add."""
        count, added = kinds[self.take(2)]
        return self.take(count) + added

    def enum(self) -> int:
        return self.choice(*_ENUM)

    def long(self) -> int:
        kind = self.take(2)
        if kind < 3:
            return (0, self.take((0, 4, 8)[kind]) + (0, 1, 17)[kind])[bool(kind)]
        result, shift = self.take(12), 12
        while self.flag():
            if shift == 60:
                return result | self.take(4) << shift
            result |= self.take(8) << shift
            shift += 8
        return result


def parse(content: bytes) -> JxlHeader:
    """The header that a codestream's first ``HEADER_BYTES`` have.

    Raises ``struct.error`` if it is damaged, or no codestream.
    """
    if content[:2] != b"\xff\x0a":
        raise struct.error("no codestream of JPEG XL")
    bits = _Bits(content)
    bits.take(16)
    height, width = _size(bits)
    orientation, animated, depth, is_float = 1, False, 8, False
    extras: tuple[Extra, ...] = ()
    is_xyb, colour, places = True, Colour(), (bits.at, bits.at)
    if not bits.flag():
        more = bits.flag()
        if more:
            orientation = 1 + bits.take(3)
            if bits.flag():
                _size(bits)
            if bits.flag():
                _preview_size(bits)
            animated = bits.flag()
            if animated:
                _animation(bits)
        depth, is_float = _depth(bits)
        bits.flag()  # whether 16 bits do while it is decoded
        count = bits.choice((0, 0), (0, 1), (4, 2), (12, 1))
        extras = tuple(_extra(bits) for _ in range(count))
        is_xyb = bits.flag()
        start = bits.at
        colour = _colour(bits)
        places = (start, bits.at)
        if more and not bits.flag():
            bits.take(16 + 16 + 1 + 16)  # how bright it is meant to be shown
        if bits.long():
            raise struct.error("it has extensions that nobody has defined yet")
    plain = bits.flag()
    end = bits.at
    is_modular = None
    if plain and not colour.has_profile:
        bits.at += -bits.at % 8
        # Of the first frame: whether all is as usual, its type, and how it is stored.
        usual = bits.flag()
        is_modular = False if usual else bits.take(2) == 0 and bits.flag()
    return JxlHeader(
        height=height,
        width=width,
        orientation=orientation,
        animated=animated,
        bits=depth,
        is_float=is_float,
        extras=extras,
        is_xyb=is_xyb,
        colour=colour,
        is_modular=is_modular,
        places=(*places, end),
    )


def with_colours(codestream: bytes, profile: bytes) -> bytes:
    """The codestream, its samples as they are, but their colours told by ``profile``.

    Without one they are told to be sRGB. The codestream must have no profile. Raises
    ``struct.error`` if it is damaged.
    """
    header = parse(codestream[:HEADER_BYTES])
    start, end, last = header.places
    if start == end or header.colour.has_profile:
        raise struct.error("its colours are in no place of their own")
    grey = header.colour.space == GREY
    # Not all as usual, whether there is a profile, and the space; without one, the white point,
    # the primaries of RGB, that the transfer function is no power, its number and the intent.
    told = [(0, 1), (bool(profile), 1), (int(grey), 2)]
    if not profile:
        told += [(D65, 2)] + [(SRGB_PRIMARIES, 2)] * (not grey)
        told += [(0, 1), (2, 2), (SRGB_TRANSFER - 2, 4), (1, 2)]
    old = int.from_bytes(codestream[: -(-last // 8)], "little")
    value, at = old & ((1 << start) - 1), start
    for number, count in [*told, (old >> end & ((1 << last - end) - 1), last - end)]:
        value |= number << at
        at += count
    if profile:
        stream, count = encoded_profile(profile)
        value |= stream << at
        at += count
    return value.to_bytes(-(-at // 8), "little") + codestream[-(-last // 8) :]


def _size(bits: _Bits) -> tuple[int, int]:
    eighths = bits.flag()

    def side() -> int:
        return 8 * (1 + bits.take(5)) if eighths else bits.choice(*_SIZE)

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return height, side()
    across, down = _RATIOS[ratio]
    return height, height * across // down


def _preview_size(bits: _Bits) -> None:
    eighths = bits.flag()
    kinds = (
        ((0, 16), (0, 32), (5, 1), (9, 33)) if eighths else ((6, 1), (8, 65), (10, 321), (12, 1345))
    )
    bits.choice(*kinds)
    if not bits.take(3):
        bits.choice(*kinds)


def _animation(bits: _Bits) -> None:
    bits.choice((0, 100), (0, 1000), (10, 1), (30, 1))
    bits.choice((0, 1), (0, 1001), (8, 1), (10, 1))
    bits.choice((0, 0), (3, 0), (16, 0), (32, 0))
    bits.flag()


def _depth(bits: _Bits) -> tuple[int, bool]:
    is_float = bits.flag()
    if not is_float:
        return bits.choice((0, 8), (0, 10), (0, 12), (6, 1)), False
    depth = bits.choice((0, 32), (0, 16), (0, 24), (6, 1))
    bits.take(4)
    return depth, True


def _extra(bits: _Bits) -> Extra:
    if bits.flag():
        return Extra(ALPHA, 8, False, False)
    kind = bits.enum()
    depth, is_float = _depth(bits)
    bits.choice((0, 0), (0, 3), (0, 4), (3, 1))
    letters = bits.choice((0, 0), (4, 0), (5, 16), (10, 48))
    bits.take(8 * letters)
    premultiplied = kind == ALPHA and bits.flag()
    if kind == _SPOT:
        bits.take(64)
    elif kind == _CFA:
        bits.choice((0, 1), (2, 0), (4, 3), (8, 19))
    return Extra(kind, depth, is_float, premultiplied)


def _colour(bits: _Bits) -> Colour:
    if bits.flag():
        return Colour()
    has_profile = bits.flag()
    space = bits.enum()
    if has_profile or space not in (RGB, GREY):
        return Colour(has_profile, space, 0, 0, None)
    white = bits.enum()
    if white == _CUSTOM:
        _point(bits)
    primaries = SRGB_PRIMARIES
    if space == RGB:
        primaries = bits.enum()
        if primaries == _CUSTOM:
            for _ in range(3):
                _point(bits)
    transfer = None
    if bits.flag():
        bits.take(24)
    else:
        transfer = bits.enum()
    bits.enum()  # the rendering intent
    return Colour(False, space, white, primaries, transfer)


def _point(bits: _Bits) -> None:
    bits.choice(*_COORDINATE)
    bits.choice(*_COORDINATE)
