"""A colour profile as a JPEG XL codestream holds it: predicted, then in a code of its own.

Profiles are small, so each byte is written as itself: with a code whose words all have eight bits.
Source: ISO/IEC 18181-1:2024, annexes C (entropy coding) and E.4 (ICC profile).
"""

from __future__ import annotations

_HEADER_BYTES = 128
_INSERT = 1
"""The command that copies bytes as they are."""

_EXPECTED = {
    8: b"\x04",
    12: b"mntrRGB XYZ ",
    36: b"acsp",
    70: b"\xf6\xd6\x00\x01\x00\x00\x00\x00\xd3\x2d",
}
"""A profile's usual header, by places; zero everywhere else."""

_LENGTHS = 18
_PLACE_OF_EIGHT = 10
"""Where in the order of lengths of codes (RFC 7932, section 3.5) that of eight bits is."""


def encoded_profile(profile: bytes) -> tuple[int, int]:
    """A profile's code: bits as a number, the first the least significant, and how many.

    Raises ``ValueError`` if it is shorter than a profile's header.
    """
    if len(profile) < _HEADER_BYTES:
        raise ValueError("a colour profile has a header of 128 bytes")
    rest = profile[_HEADER_BYTES:]
    commands = b"\0" + (bytes([_INSERT]) + _varint(len(rest)) if rest else b"")  # no list of tags
    head = bytes((a - b) % 256 for a, b in zip(profile, _predicted(profile), strict=False))
    content = _varint(len(profile)) + _varint(len(commands)) + commands + head + rest

    parts = [*_length(len(content))]
    # No repetitions; one code for all contexts, of Huffman's kind; numbers below 2 ** 8 as they
    # are; 256 of them, that is 2 ** 7 + 127 more than one.
    parts += [(0, 1), (1, 1), (0, 2), (1, 1), (8, 4), (0, 4), (0, 4), (1, 1), (7, 4), (127, 7)]
    # The only length of a code is eight bits, so that naming it takes none.
    parts += [(0, 2), *((int(i == _PLACE_OF_EIGHT), 2) for i in range(_LENGTHS))]
    value = at = 0
    for number, count in parts:
        value |= number << at
        at += count
    # Codes are written from their most significant bit.
    reversed_bytes = bytes(int(f"{byte:08b}"[::-1], 2) for byte in content)
    return value | int.from_bytes(reversed_bytes, "little") << at, at + 8 * len(content)


def _predicted(profile: bytes) -> bytes:
    """A profile's header as a decoder expects it."""
    header = bytearray(_HEADER_BYTES)
    header[:4] = len(profile).to_bytes(4, "big")
    for place, content in _EXPECTED.items():
        header[place : place + len(content)] = content
    header[80:84] = profile[4:8]  # its maker is who made its engine
    platform = profile[40:44]
    if platform[:1] == b"A":
        header[41:44] = b"PPL"
    elif platform[:1] == b"M":
        header[41:44] = b"SFT"
    elif platform[:2] == b"SG":
        header[42:44] = b"I "
    elif platform[:2] == b"SU":
        header[42:44] = b"NW"
    return bytes(header)


def _varint(number: int) -> bytes:
    content = bytearray()
    while number > 127:
        content.append(number & 127 | 128)
        number >>= 7
    return bytes([*content, number])


def _length(number: int) -> list[tuple[int, int]]:
    """A number of up to 64 bits, as parts: a number of so many bits each."""
    if number < 17:
        return [(1, 2), (number - 1, 4)]
    if number < 273:
        return [(2, 2), (number - 17, 8)]
    parts = [(3, 2), (number & 4095, 12)]
    number >>= 12
    while number:
        parts += [(1, 1), (number & 255, 8)]
        number >>= 8
    return [*parts, (0, 1)]
