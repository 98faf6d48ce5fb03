"""Whether frames of a video gain by their neighbours: `upres.fuse` on windows of real clips.

Writes `TEMPORAL.md`. Frames are the truth. They are reduced by MATLAB's bicubic, and compressed by
x264 in the second series. Each of some frames is then enlarged by `balanced` alone, and fused with
its neighbours, by `balanced`, too. The clips lie in `../shared/data/inputs`.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import av
import numpy as np
from numpy.typing import NDArray

import upres
from fusion import MODEL, fused
from measuring import machine, table
from upres.raster.metrics import score
from upres.raster.resize import bicubic

CLIPS = ("video/bikes.mp4", "video/carphone_pristine.mp4")
CLIPS += ("burst/eia_lr.avi", "burst/text.avi", "burst/Alpaca_small.avi")
WINDOWS = (3, 5)
CRF = 20

WANTED, TIMES = 0.3, 2.0
"""Decibels over `balanced` that a window is to gain, and times as long as it may take."""

Frame = NDArray[np.uint8]


def frames_of(path: Path, most: int, scale: int) -> list[Frame]:
    """The first frames of a clip, cut to multiples of the scale."""
    found: list[Frame] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            pixels = frame.to_ndarray(format="rgb24")
            height, width = (side // (2 * scale) * 2 * scale for side in pixels.shape[:2])
            found.append(np.ascontiguousarray(pixels[:height, :width]))
            if len(found) == most:
                break
    return found


def compressed(frames: Sequence[Frame]) -> list[Frame]:
    """The frames as x264 gives them back."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": str(CRF)})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def rows_of(path: Path, scale: int, count: int, spread: int) -> list[list[str]]:
    """How good, and how long: by one frame, and by each window."""
    around = max(WINDOWS) // 2
    truth = frames_of(path, 2 * around + 1 + (count - 1) * spread, scale)
    small = [bicubic(frame, scale=1 / scale) for frame in truth]
    rows = []
    for how, given in (("none", small), (f"x264, crf {CRF}", compressed(small))):
        middles = range(around, len(truth) - around, spread)
        decibels: list[list[float]] = [[] for _ in (1, *WINDOWS)]
        seconds = [0.0 for _ in decibels]
        upres.enlarge(given[0], scale=scale, model=MODEL)  # the first time takes longer
        for middle in middles:
            for place, size in enumerate((1, *WINDOWS)):
                # The frame that is sought is the reference, and so the first.
                window = sorted(range(middle - size // 2, middle + size // 2 + 1))
                window.sort(key=lambda number: number != middle)
                start = time.process_time()
                if size == 1:
                    result = upres.enlarge(given[middle], scale=scale, model=MODEL)
                else:
                    result, _ = fused([given[number] for number in window], scale)
                seconds[place] += time.process_time() - start
                decibels[place].append(score(result, truth[middle], border=scale).psnr)
        single, *others = (fmean(each) for each in decibels)
        row = [f"{path.stem} x{scale}", how, str(len(middles)), f"{single:.2f}"]
        row += [f"{other - single:+.2f}" for other in others]
        row += [f"{1000 * seconds[0] / len(middles):.0f}"]
        row += [f"{other / seconds[0]:.1f}" for other in seconds[1:]]
        print(row, flush=True)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/inputs"))
    parser.add_argument("--scales", nargs="+", type=int, default=[2, 4])
    parser.add_argument("--frames", type=int, default=5, help="of a clip")
    parser.add_argument("--spread", type=int, default=2, help="from one of these to the next")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("TEMPORAL.md"))
    arguments = parser.parse_args()
    about = machine()
    rows = [
        row
        for scale in arguments.scales
        for name in CLIPS
        for row in rows_of(arguments.data / name, scale, arguments.frames, arguments.spread)
    ]
    head = ["clip", "compression", "frames", f"`{MODEL}`, dB"]
    head += [f"{size} frames" for size in WINDOWS] + ["ms of a processor"]
    head += [f"{size} frames" for size in WINDOWS]
    gains = [max(float(row[4]), float(row[5])) for row in rows]
    kept = [
        any(
            float(g) >= WANTED and float(t) <= TIMES for g, t in zip(row[4:6], row[7:], strict=True)
        )
        for row in rows
    ]
    text = f"""# Frames of a video and their neighbours

Written by `benchmarks/temporal.py`.

{about}

Frames of real clips are the truth: PSNR is by the field's protocol, in dB, and the mean over \
frames. They are reduced by MATLAB's bicubic. `{MODEL}` enlarges each alone. `upres.fuse` fuses it \
with its neighbours, by `{MODEL}`, too: the columns of frames tell the gain in dB, and then how \
many times as long it takes, in time of processors.

{table(head, rows)}

The aim was {WANTED:g} dB in {TIMES:g} times the time. {sum(g >= WANTED for g in gains)} of \
{len(rows)} rows gain as much, and {sum(kept)} of these in that time.
"""
    arguments.output.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
