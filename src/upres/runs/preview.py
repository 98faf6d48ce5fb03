"""One frame of a video before and after, side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from upres.engine.protocol import Backend
from upres.enlarging.pipeline import enlarge_into
from upres.enlarging.plan import Plan
from upres.errors import InputError
from upres.formats.registry import check_output, create_sink
from upres.raster.arrays import ArraySink
from upres.raster.info import RasterInfo
from upres.raster.resize import bicubic
from upres.raster.source import Rows

if TYPE_CHECKING:
    from upres.formats.video.source import VideoSource


def write_preview(
    source: VideoSource,
    plan: Plan,
    time: Fraction,
    target: Path,
    backend: Backend,
    *,
    replace: bool,
) -> None:
    """Write the frame that is shown at ``time``, in seconds: enlarged by bicubic, and as planned.

    Raises ``InputError`` if there is no frame then, ``OutputError`` if ``target`` cannot be
    written.
    """
    size = (plan.height, plan.width)
    info = source.info.resized(plan.height, 2 * plan.width)
    most = 65535.0 if source.carried.coding.bits > 8 else 255.0
    info = dataclasses.replace(
        info,
        bands=tuple(dataclasses.replace(b, high=most, least=None, most=None) for b in info.bands),
        dtype=np.dtype(np.uint16 if most > 255 else np.uint8),
        frames=1,
    )
    check_output(target, info)
    frames = source.between(time, None).frames(target)
    try:
        small = np.concatenate(list(next(frames)))
    except StopIteration:
        raise InputError(f"{source.path}: has no frame at {float(time):g} s") from None
    finally:
        frames.close()
    one = _Frame(dataclasses.replace(source.info, frames=1), small)
    after = ArraySink()
    enlarge_into(one, plan, after, beside=target, backend=backend)
    after.commit()
    before = np.clip(bicubic(small, size=size), 0, 1)
    with create_sink(target) as sink:
        sink.begin(info, None)
        sink.write(0, 0, 0, np.concatenate([before, after.result], axis=1))
        sink.commit(replace=replace)


@dataclass(frozen=True)
class _Frame:
    """A frame as a source."""

    info: RasterInfo
    samples: Rows
    carried: object = None

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        yield iter([self.samples])
