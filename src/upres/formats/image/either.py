"""A sink of a format that holds stills and animations, which are written in two ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array
from upres.raster.source import Sink


class EitherSink:
    """The sink that ``still`` makes, or of several frames that which ``moving`` makes.

    See ``upres.raster.source.Sink``.
    """

    def __init__(self, still: Callable[[], Sink], moving: Callable[[], Sink]) -> None:
        self._still, self._moving = still, moving
        self._sink: Sink | None = None

    def begin(self, info: RasterInfo, carried: object) -> None:
        """See ``upres.raster.source.Sink``."""
        self._sink = self._still() if info.frames == 1 else self._moving()
        self._sink.begin(info, carried)

    @property
    def not_kept(self) -> Sequence[str]:
        """See ``upres.raster.source.Sink``."""
        return self._sink.not_kept if self._sink else ()

    def write(self, frame: int, top: int, left: int, block: Float32Array) -> None:
        """See ``upres.raster.source.Sink``."""
        assert self._sink is not None
        self._sink.write(frame, top, left, block)

    def commit(self, *, replace: bool) -> None:
        """See ``upres.raster.source.Sink``."""
        assert self._sink is not None
        self._sink.commit(replace=replace)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._sink is not None:
            self._sink.__exit__(*exception)
