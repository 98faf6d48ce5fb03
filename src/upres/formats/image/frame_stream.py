"""The frames of an animation, one after another, as an image that is encoded meanwhile.

So there is room for one frame, however many there are, beside the encoder's own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

import pyvips

from upres.formats.image.spooled import head_of
from upres.raster.spool import Spool

_PATIENCE = 60.0
"""Seconds that an encoder whose frames have stopped coming gets to end."""


class FrameStream:
    """Hands ``frames`` that are put into ``spool`` to ``encode``, which runs in a thread.

    It is given an image of all frames, one below the other, whose pixels come as they are made.
    Frames are handed over in lock step: while the encoder takes one, none is made. Rows of a frame
    that are there already may be taken while its others are made.
    """

    def __init__(self, spool: Spool, frames: int, encode: Callable[[pyvips.Image], None]) -> None:
        height, width, channels = spool.shape
        self._spool = spool
        self._frame_bytes = height * spool.row_bytes
        self._head = head_of((frames * height, width, channels), spool.dtype)
        self._size = len(self._head) + frames * self._frame_bytes
        self._encode = encode
        self._position = 0
        self._read_to = 0
        """Where the read part ends: libvips seeks the end to learn how long all is."""
        self._made = 0
        """Frames that have been put into the spool."""
        self._rows = 0
        """Rows of the next frame that are there already, from its top."""
        self._stopped = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="upres-encoder", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(_PATIENCE)

    def rows_are_there(self, rows: int) -> None:
        """Hand over so many rows of the next frame, from its top; the encoder need not take them.

        Raises the encoder's error, if it has failed.
        """
        with self._changed:
            self._rows = rows
            self._changed.notify_all()
        if self._error is not None:
            raise self._error

    def next_frame(self) -> None:
        """Hand the frame over that is in the spool; return when the encoder has taken it.

        Raises the encoder's error, if it has failed.
        """
        with self._changed:
            self._made, self._rows = self._made + 1, 0
            self._changed.notify_all()
            taken = len(self._head) + self._made * self._frame_bytes
            while self._thread.is_alive() and self._error is None and self._read_to < taken:
                self._changed.wait(0.1)
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Wait for the encoder; raise its error, if it has failed."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            source = pyvips.SourceCustom()
            source.on_read(self._read)
            source.on_seek(self._seek)
            self._encode(pyvips.Operation.call("tiffload_source", source, access="sequential"))
        except BaseException as error:
            self._error = self._error or error
        finally:
            with self._changed:
                self._changed.notify_all()

    def _read(self, count: int) -> bytes | None:
        """The bytes that libvips asks for, as far as they are there; it waits for a frame."""
        with self._changed:
            at = self._position
            if at < len(self._head):
                content = self._head[at : at + count]
            elif at >= self._size:
                return None
            else:
                frame, offset = divmod(at - len(self._head), self._frame_bytes)
                while self._bytes_of(frame) <= offset and not self._stopped:
                    self._changed.wait()
                there = self._bytes_of(frame)
                if there <= offset or self._made > frame + 1:
                    return None  # stopped, or a frame that has been given up for the next
                try:
                    content = self._spool.read(offset, min(count, there - offset))
                except OSError as error:  # libvips cannot pass it on
                    self._error = error
                    return None
            self._position += len(content)
            self._read_to = max(self._read_to, self._position)
            self._changed.notify_all()
            return content

    def _bytes_of(self, frame: int) -> int:
        """How many bytes of a frame are there."""
        if self._made > frame:
            return self._frame_bytes
        return self._rows * self._spool.row_bytes if self._made == frame else 0

    def _seek(self, offset: int, whence: int) -> int:
        with self._changed:
            self._position = max(0, offset + (0, self._position, self._size)[whence])
            return self._position
