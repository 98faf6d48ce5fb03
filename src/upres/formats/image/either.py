"""A sink of a format whose files are written in two ways, by the content that they get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array
from upres.raster.source import Sink


class EitherSink:
    """The sink that ``choose`` makes by a raster's info and by what its source carries.

    See ``upres.raster.source.Sink``.
    """

    def __init__(self, choose: Callable[[RasterInfo, object], Sink]) -> None:
        self._choose = choose
        self._sink: Sink | None = None

    def begin(self, info: RasterInfo, carried: object) -> None:
        """See ``upres.raster.source.Sink``."""
        self._sink = self._choose(info, carried)
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


def still_or_moving(still: Callable[[], Sink], moving: Callable[[], Sink]) -> EitherSink:
    """The sink that ``still`` makes, or of several frames that which ``moving`` makes."""
    return EitherSink(lambda info, _: still() if info.frames == 1 else moving())
