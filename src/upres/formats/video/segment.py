"""Packets of a video in a file of their own: a part of a result, made once.

No container's file would do: some lose packets whose order of decoding is not that of showing, and
all tell times in units of their own.
"""

from __future__ import annotations

import array
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from av.packet import Packet

from upres.errors import OutputError

_HEAD = b"upres packets 1\n"
_PACKET = struct.Struct("<qBI")
"""Time, whether it is a key, and bytes."""
_END = 2


@dataclass(frozen=True)
class Stored:
    """A packet as it is kept."""

    time: int
    is_key: bool
    content: bytes


class SegmentWriter:
    """Writes packets to a file that is open, in the order of decoding."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._file.write(_HEAD)

    def write(self, packets: Iterable[Packet[Any]], times: dict[int, int]) -> None:
        """Store packets, whose times are numbers of frames: ``times`` has those of each.

        Raises ``OSError`` where disk is lacking.
        """
        for packet in packets:
            content = bytes(packet)
            time = times.pop(packet.pts or 0)
            self._file.write(_PACKET.pack(time, packet.is_keyframe, len(content)))
            self._file.write(content)

    def end(self, last: int, extradata: bytes) -> None:
        """Store how long the last frame is shown, and the codec's own header."""
        content = json.dumps({"last": last, "extradata": extradata.hex()}).encode()
        self._file.write(_PACKET.pack(0, _END, len(content)) + content)


def read_times(path: Path) -> tuple[array.array[int], int, bytes]:
    """The times of a segment's packets, the last frame's duration, and the codec's header.

    Raises ``OutputError`` where it is not whole.
    """
    times = array.array("q")
    with path.open("rb") as file:
        if file.read(len(_HEAD)) == _HEAD:
            while len(entry := file.read(_PACKET.size)) == _PACKET.size:
                time, kind, size = _PACKET.unpack(entry)
                if kind == _END:
                    told = json.loads(file.read(size))
                    return times, told["last"], bytes.fromhex(told["extradata"])
                file.seek(size, 1)
                times.append(time)
    raise OutputError(f"{path}: this part of a video is damaged: remove it, and start anew")


def read_packets(path: Path) -> Iterator[Stored]:
    """The packets of a segment that is whole."""
    with path.open("rb") as file:
        file.seek(len(_HEAD))
        while True:
            time, kind, size = _PACKET.unpack(file.read(_PACKET.size))
            if kind == _END:
                return
            yield Stored(time, bool(kind), file.read(size))


def lag(times: Iterable[int]) -> int:
    """By how many places a packet comes before its turn at most, in a segment's own order."""
    given = list(times)
    rank = {time: number for number, time in enumerate(sorted(given))}
    return max((number - rank[time] for number, time in enumerate(given)), default=0)


@dataclass(frozen=True)
class Timed:
    """A packet with all of its times."""

    stored: Stored
    decoded: int
    duration: int


def timed(paths: Iterable[Path]) -> Iterator[Timed]:
    """The packets of all segments of a video, with times of decoding that rise throughout.

    The n-th packet is decoded at the time of the n-th frame that is shown, so many frames before
    as the order of decoding asks for; and each is shown until the next.
    """
    paths = list(paths)
    shown = array.array("q")
    most, last = 0, 0
    for path in paths:
        times, last, _ = read_times(path)
        most = max(most, lag(times))
        shown.extend(sorted(times))
    count = len(shown)
    most = min(most, max(0, count - 1))
    # Those that wait before the first is shown are decoded in steps as short as any.
    step = min((shown[i + 1] - shown[i] for i in range(most)), default=1)
    number = 0
    for path in paths:
        first = number
        own = sorted(read_times(path)[0])
        rank = {time: first + place for place, time in enumerate(own)}
        for stored in read_packets(path):
            early = number - most
            decoded = shown[early] if early >= 0 else shown[0] + early * step
            place = rank[stored.time]
            duration = shown[place + 1] - shown[place] if place + 1 < count else last
            yield Timed(stored, decoded, duration)
            number += 1
