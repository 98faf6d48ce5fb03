"""A video's container: opened safely, its header and its first frame told as plain facts."""

from __future__ import annotations

import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
import av.logging
import numpy as np
from av.container import InputContainer
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from upres.errors import InputError
from upres.formats.registry import read_head
from upres.formats.video.colours import (
    DEFAULT_SITING,
    RGB,
    SITINGS,
    UNKNOWN,
    ColourTags,
    matrix_of,
    unreadable,
)
from upres.formats.video.light import Light, light_of
from upres.formats.video.planes import YCGCO, Coding

DEMUXERS = (
    (rb"\x1a\x45\xdf\xa3", "matroska"),
    (rb"RIFF.{4}AVI ", "avi"),
    (rb"G.{187}G", "mpegts"),
    (rb".{4}G.{191}G", "mpegts"),
    (rb"\0\0\x01\xba", "mpeg"),
    (rb"FLV\x01", "flv"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (rb"OggS", "ogg"),
    (rb"YUV4MPEG2 ", "yuv4mpegpipe"),
    (rb".{4}(?:ftyp|moov|mdat|free|skip|wide|pnot)", "mov"),
)
"""FFmpeg's readers by the beginnings of files. A file is never read as anything else, such as a
list of other files."""

MOST_RATE = 1000
"""Frames a second; more is a unit of time that was taken for a rate."""

_TRANSPARENT = "{}: this video has transparency ({}), which upres does not enlarge in videos"

_logging = threading.Lock()


@dataclass(frozen=True)
class Clip:
    """All that goes from a video to its result beside colours: facts, and where the file is."""

    path: Path
    stream: int
    """The number of the stream that is enlarged."""
    time_base: Fraction
    rate: Fraction
    aspect: Fraction
    """Of a sample, width by height."""
    size: tuple[int, int]
    """Height and width of a frame as it is stored."""
    tags: ColourTags
    coding: Coding
    matrix: tuple[int, ...] = ()
    """The display matrix, nine numbers as FFmpeg has them; empty where a frame is upright."""
    light: Light | None = None
    lost: tuple[str, ...] = ()
    """Names of what frames tell and no result keeps."""
    interlaced: bool = False
    times: dict[int, tuple[int, int]] = field(default_factory=dict, compare=False)
    """Time and duration of frames that are decoded and not yet encoded, by their number."""
    clipped: set[str] = field(default_factory=set, compare=False)
    """Names of what frames that are decoded have beyond the range of colours."""


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """Open a video; raises ``InputError`` where it cannot be read."""
    head = read_head(path)
    demuxer = next((name for start, name in DEMUXERS if re.match(start, head, re.DOTALL)), None)
    if demuxer is None:
        raise InputError(f"{path}: not a video in a format that upres reads")
    try:
        # By a protocol, as a colon in a name would be taken for one.
        container = av.open(
            f"file:{path}",
            "r",
            format=demuxer,
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except av.FFmpegError as error:
        raise InputError(f"{path}: cannot read this video: {said(error)}") from None
    with container:
        yield container


def said(error: av.FFmpegError) -> str:
    """FFmpeg's words for an error."""
    return (error.strerror or type(error).__name__).lower()


def enlarged_stream(container: InputContainer, path: Path) -> VideoStream:
    """The stream of frames that is enlarged: the default one, or the first that is no cover.

    Raises ``InputError`` where there is none.
    """
    cover = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams or streams[0].codec_context is None:
        raise InputError(f"{path}: this file has no video that can be decoded")
    default = av.stream.Disposition.default
    return next((s for s in streams if s.disposition & default), streams[0])


def planar(name: str, path: Path) -> str:
    """The pixel format with a plane for each band that holds the same samples.

    Raises ``InputError`` for a format with transparency, or that is no colours.
    """
    pixel = VideoFormat(name)
    bits = max(component.bits for component in pixel.components)
    if pixel.has_palette:
        return "gbrp"
    if any(component.is_alpha for component in pixel.components):
        raise InputError(_TRANSPARENT.format(path, name))
    if pixel.is_bayer or bits > 16 or re.search(r"f(16|32)|xyz", name):
        raise InputError(f"{path}: upres does not read frames of this kind ({name})")
    deep = f"{bits}le" if bits > 8 else ""
    if len(pixel.components) == 1:
        return f"gray{deep}"
    if pixel.is_rgb:
        return "gbrp" if bits <= 8 else f"gbrp{deep}"
    across, down = subsampling(pixel)
    known = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (1, 2): "440", (4, 1): "411"}
    known[4, 4] = "410"
    return f"yuv{known[across, down]}p{deep}"


def subsampling(pixel: VideoFormat) -> tuple[int, int]:
    """How many luma samples share a chroma sample, across and down."""
    # Of a width that all of them divide.
    return 64 // pixel.chroma_width(64), 64 // pixel.chroma_height(64)


def header(container: InputContainer, path: Path) -> tuple[int, int, str]:
    """Height, width and planar pixel format of the frames; none is decoded here."""
    stream = enlarged_stream(container, path)
    context = stream.codec_context
    if not context.pix_fmt or not context.width or not context.height:
        raise InputError(f"{path}: cannot read this video: its first frame is damaged or missing")
    if stream.metadata.get("alpha_mode") == "1":  # beside the frames, where decoders do not look
        raise InputError(_TRANSPARENT.format(path, f"{context.name} with alpha"))
    return context.height, context.width, planar(context.pix_fmt, path)


def clip_of(path: Path) -> Clip:
    """The facts of a video, for which its first frame is decoded; raises ``InputError``."""
    with open_container(path) as container:
        stream = enlarged_stream(container, path)
        context = stream.codec_context
        height, width, layout = header(container, path)
        frame = first_frame(container, stream, path)
        side = side_data(frame)
        tags = _tags(stream, frame)
        pixel = VideoFormat(layout)
        grey, rgb = len(pixel.components) == 1, pixel.is_rgb
        across, down = (1, 1) if grey or rgb else subsampling(pixel)
        matrix = RGB if rgb else matrix_of(tags, height, width)
        strange = unreadable(matrix)
        if strange or (not rgb and matrix == RGB):
            raise InputError(f"{path}: upres does not enlarge colours of {strange or 'this kind'}")
        if matrix not in (*_MATRICES, RGB):
            raise InputError(f"{path}: the matrix of its colours (number {matrix}) is not known")
        coding = Coding(
            bits=pixel.components[0].bits,
            matrix=matrix,
            full=_is_full(context.pix_fmt or "", rgb or grey) if tags.full is None else tags.full,
            across=across,
            down=down,
            siting=tags.siting or DEFAULT_SITING,
            grey=grey,
        )
        return Clip(
            path=path,
            stream=stream.index,
            time_base=stream.time_base or Fraction(1, 90000),
            rate=rate_of(stream) or Fraction(25),
            aspect=stream.sample_aspect_ratio or context.sample_aspect_ratio or Fraction(1),
            size=(height, width),
            tags=tags,
            coding=coding,
            matrix=struct.unpack("<9i", side["DISPLAYMATRIX"]) if "DISPLAYMATRIX" in side else (),
            light=light_of(side),
            lost=tuple(name for key, name in _LOST.items() if key in side),
            interlaced=frame.interlaced_frame or context.field_order in _FIELDS,
        )


def _is_full(name: str, is_plain: bool) -> bool:
    """Whether untagged samples take all of their type's range: FFmpeg's rule, by the pixel format.

    Codecs whose grey is that of television tell so.
    """
    return is_plain or "yuvj" in name


_MATRICES = (1, 4, 5, 6, 7, 9, YCGCO)

_FIELDS = (2, 3, 4, 5)
"""FFmpeg's numbers of the orders that fields may have: 0 is not known, 1 progressive."""

_LOST = {
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DOVI_METADATA": "Dolby Vision",
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
    "A53_CC": "closed captions",
    "S12M_TIMECODE": "timecodes of frames",
    "STEREO3D": "stereo 3D",
    "SPHERICAL": "spherical view",
    "ICC_PROFILE": "ICC profile",
    "AFD": "active format description",
}


def rate_of(stream: VideoStream) -> Fraction | None:
    """Frames a second, on average; ``None`` where it is not told, or is no rate of frames."""
    rates = (stream.average_rate, stream.guessed_rate)
    return next((rate for rate in rates if rate and 0 < rate <= MOST_RATE), None)


def first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    """The first frame that can be decoded; raises ``InputError`` where there is none."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
            frames = packet.decode()
        except StopIteration:
            raise InputError(f"{path}: no frame of this video can be decoded") from None
        except av.FFmpegError:
            continue
        if frames:
            return frames[0]


def plane_arrays(frame: VideoFrame, layout: str) -> list[NDArray[Any]]:
    """The samples of each plane, as views of a frame that is of the pixel format ``layout``."""
    arrays = []
    pixel = VideoFormat(layout)
    for plane in frame.planes:
        dtype = np.dtype(np.uint8 if pixel.components[0].bits <= 8 else "<u2")
        samples = np.frombuffer(memoryview(plane), dtype)
        rows = samples[: plane.height * (plane.line_size // dtype.itemsize)]
        arrays.append(rows.reshape(plane.height, -1)[:, : plane.width])
    return arrays


def side_data(frame: VideoFrame) -> dict[str, bytes]:
    """The data that a frame has beside its samples, by FFmpeg's names."""
    data: Any = frame.side_data  # which PyAV's annotations have otherwise
    return {item.type.name: bytes(item) for item in data}


def _tags(stream: VideoStream, frame: VideoFrame) -> ColourTags:
    context = stream.codec_context

    def told(of_frame: int, of_stream: int) -> int:
        return of_frame if of_frame != UNKNOWN else of_stream

    span = frame.color_range or context.color_range
    return ColourTags(
        matrix=told(frame.colorspace, context.colorspace),
        primaries=told(frame.color_primaries, context.color_primaries),
        transfer=told(frame.color_trc, context.color_trc),
        full={1: False, 2: True}.get(int(span)),
        siting=_siting(stream, frame),
    )


def _siting(stream: VideoStream, frame: VideoFrame) -> str | None:
    """Where chroma samples lie. PyAV does not tell it: a filter that describes frames does."""
    with _logging:
        before = av.logging.get_level()
        av.logging.set_level(av.logging.INFO)
        try:
            with av.logging.Capture() as lines:
                graph = av.filter.Graph()
                start = graph.add_buffer(template=stream)
                graph.link_nodes(start, graph.add("showinfo"), graph.add("buffersink")).configure()
                graph.vpush(frame)
                graph.vpull()
        except av.FFmpegError:
            return None
        finally:
            av.logging.set_level(before)
    found = re.search(r" cl:(\w+) ", "".join(str(line[2]) for line in lines))
    return found[1] if found and found[1] in SITINGS else None
