"""How frames are encoded: by which codec, in which pixel format, with which settings.

The numbers of threads are fixed, so that the bytes do not depend on the machine's processors.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from upres.engine.machine import this_processor
from upres.errors import OutputError, Remedy
from upres.formats.video.colours import RGB, ColourTags, tags_of_codec
from upres.formats.video.container import Clip, subsampling
from upres.formats.video.light import Light, light_params
from upres.formats.video.planes import Coding
from upres.formats.video.settings import VideoCodec, VideoSettings

CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}
"""FFmpeg's writers by suffix."""

_HOLDS: dict[str, tuple[VideoCodec, ...]] = {
    "mp4": ("x264", "x265", "av1", "vp9"),
    "mov": ("x264", "x265", "prores"),
    "matroska": ("x264", "x265", "av1", "vp9", "ffv1", "prores"),
    "webm": ("av1", "vp9"),
}

_THREADS = 4


@dataclass(frozen=True)
class _Encoder:
    library: str
    crf: float | None
    """By default."""
    options: Mapping[str, str] = field(default_factory=dict)
    thread_type: str = "NONE"


_ENCODERS: dict[VideoCodec, _Encoder] = {
    # For frames of bikes.mp4, 1280x720, this takes 20 ms of a processor's time, and "fast" 40. For
    # as many bytes, either has the same PSNR, to 0.1 dB. "veryfast" alone has 0.3 dB less.
    "x264": _Encoder("libx264", 17, {"preset": "veryfast", "trellis": "1"}, "FRAME"),
    "x265": _Encoder("libx265", 18, {"preset": "medium"}),
    "av1": _Encoder("libsvtav1", 20, {"preset": "6"}),
    "vp9": _Encoder("libvpx-vp9", 20, {"deadline": "good", "cpu-used": "2", "row-mt": "1"}),
    "ffv1": _Encoder("ffv1", None, {"level": "3", "slices": "4", "slicecrc": "1"}, "SLICE"),
    "prores": _Encoder("prores_ks", None, {"vendor": "apl0"}, "SLICE"),
}


@dataclass(frozen=True)
class Encoding:
    """All that decides the bytes of the frames' packets, beside the frames."""

    codec: VideoCodec
    layout: str
    """The pixel format, a plane for each band."""
    coding: Coding
    tags: ColourTags
    height: int
    width: int
    time_base: Fraction
    rate: Fraction
    aspect: Fraction
    crf: float | None
    light: Light | None

    @property
    def library(self) -> str:
        """FFmpeg's name of the encoder."""
        return _ENCODERS[self.codec].library

    @property
    def stored(self) -> str:
        """The pixel format that the encoder takes, which may have the same bands in one plane."""
        return "bgr0" if (self.codec, self.layout) == ("ffv1", "gbrp") else self.layout

    @property
    def options(self) -> dict[str, str]:
        """The encoder's own settings."""
        options = dict(_ENCODERS[self.codec].options)
        if self.crf is not None:
            options["crf"] = f"{self.crf:g}"
        if self.tags.siting:
            options["chroma_sample_location"] = self.tags.siting
        private: list[str] = []
        if self.codec == "x265":
            private += ["log-level=none", f"pools={_THREADS}", "frame-threads=2"]
            private += ["hdr10=1", "hdr10-opt=1", "repeat-headers=1"] if self.light else []
            private += light_params(self.light, "master-display", "max-cll", scaled=True)
            options["x265-params"] = ":".join(private)
        elif self.codec == "av1":
            private += ["lp=2", *light_params(self.light, "mastering-display", "content-light")]
            options["svtav1-params"] = ":".join(private)
        elif self.codec == "x264":
            private += light_params(self.light, "mastering-display", "cll", scaled=True)
            if this_processor().avx512:
                # By AVX-512, x264 gives other bytes now and then: of 150 times that it encoded 120
                # frames of 96x96, by one thread, 15. By AVX2 it gave the same 120 times.
                private.append("asm=AVX2")
            if private:
                options["x264-params"] = ":".join(private)
        elif self.codec == "prores":
            options["profile"] = "4444" if self.coding.across == 1 else "hq"
        return options

    @property
    def keeps_light(self) -> bool:
        """Whether the packets tell HDR10's static metadata."""
        return self.codec in ("x264", "x265", "av1")

    def describe(self, frame: VideoFrame) -> None:
        """Tell a frame the meaning of its colours: of ProRes, the encoder asks it alone."""
        frame.colorspace = RGB if self.coding.matrix == RGB else self.tags.matrix
        frame.color_primaries, frame.color_trc = self.tags.primaries, self.tags.transfer
        if self.tags.full is not None or self.coding.full:
            frame.color_range = 2 if self.coding.full else 1

    def set_up(self, context: VideoCodecContext) -> None:
        """Give an encoder that is not open yet all of this."""
        encoder = _ENCODERS[self.codec]
        context.width, context.height, context.pix_fmt = self.width, self.height, self.stored
        context.time_base, context.framerate = 1 / self.rate, self.rate
        context.sample_aspect_ratio = self.aspect
        context.options = self.options
        context.bit_rate = 0
        context.thread_count = _THREADS
        context.thread_type = encoder.thread_type
        # A file that tells a part of these is told nothing more.
        context.colorspace = RGB if self.coding.matrix == RGB else self.tags.matrix
        context.color_primaries, context.color_trc = self.tags.primaries, self.tags.transfer
        if self.tags.full is not None or self.coding.full:
            context.color_range = 2 if self.coding.full else 1

    def new_context(self, *, global_header: bool) -> VideoCodecContext:
        """An encoder of its own."""
        context = av.CodecContext.create(self.library, "w")
        assert isinstance(context, VideoCodecContext)
        self.set_up(context)
        context.flags |= flags_of(global_header=global_header)
        return context


def flags_of(*, global_header: bool) -> int:
    """FFmpeg's flags of an encoder: nothing about its version, and headers apart if wanted."""
    flags = Flags.bitexact
    return int(flags | Flags.global_header if global_header else flags)


def container_of(target: Path) -> str:
    """FFmpeg's name for the container that a suffix names."""
    return CONTAINERS[target.suffix.lower()]


def encoding_for(
    target: Path,
    settings: VideoSettings,
    clip: Clip,
    tags: ColourTags,
    *,
    height: int,
    width: int,
) -> Encoding:
    """The encoding of a result; raises ``OutputError`` where its container or codec cannot."""
    container, coding = container_of(target), clip.coding
    codec = settings.codec or ("ffv1" if settings.lossless else _default(container, coding))
    if codec not in _HOLDS[container]:
        known = ", ".join(_HOLDS[container])
        raise OutputError(
            f"{target}: {target.suffix} does not hold codec {codec}, but {known}: choose .mkv",
            Remedy("codec", "names another"),
        )
    full = coding.full and codec != "prores"
    if full != coding.full:
        tags = dataclasses.replace(tags, full=False)
    told, layout = tags_of_codec(codec, tags), _layout(codec, coding)
    if layout is None or told is None:
        kind = f"{'grey of ' if coding.grey else ''}{coding.bits} bit"
        kind = "RGB" if coding.matrix == RGB else kind
        kind = kind if told is not None else f"the matrix {coding.matrix} of H.273"
        raise OutputError(
            f"{target}: codec {codec} cannot hold frames of {kind} as the video has them",
            Remedy("lossless", "stores them as they are", True),
            Remedy("codec", "names another"),
        )
    pixel = VideoFormat(layout)
    rgb, grey = pixel.is_rgb, len(pixel.components) == 1
    across, down = (1, 1) if rgb or grey else subsampling(pixel)
    if width % across or height % down:
        raise OutputError(
            f"{target}: the result, {width}x{height}, must have even sides, as two by two pixels "
            "share a colour in it",
            Remedy("fit", "gives another size"),
        )
    # Display aspect stays exactly, where rounding has changed the frame's own.
    rows, columns = clip.size
    aspect = clip.aspect * Fraction(columns, rows) / Fraction(width, height)
    return Encoding(
        codec=codec,
        layout=layout,
        coding=Coding(
            bits=pixel.components[0].bits,
            matrix=coding.matrix,
            full=full,
            across=across,
            down=down,
            siting=coding.siting,
            grey=grey,
        ),
        tags=told,
        height=height,
        width=width,
        time_base=clip.time_base,
        rate=clip.rate,
        aspect=aspect.limit_denominator(32767),
        crf=_ENCODERS[codec].crf if settings.crf is None else settings.crf,
        light=clip.light,
    )


def _default(container: str, coding: Coding) -> VideoCodec:
    if container == "webm":
        return "vp9" if coding.bits <= 8 else "av1"
    if coding.matrix == RGB:
        return "ffv1" if container == "matroska" else "x265"
    # Of H.264, players in hardware take 8 bits alone.
    return "x264" if coding.bits <= 8 else "x265"


def _layout(codec: VideoCodec, coding: Coding) -> str | None:
    """Of an encoder's pixel formats, the least that holds every sample; ``None`` if none does."""
    rgb = coding.matrix == RGB
    if codec == "ffv1" and rgb and coding.bits <= 8:
        return "gbrp"  # see ``Encoding.stored``
    found: list[tuple[int, int, str]] = []
    for pixel in av.Codec(_ENCODERS[codec].library, "w").video_formats or ():
        bits = pixel.components[0].bits
        if not re.fullmatch(r"(yuv\d+p|gbrp|gray)(\d+le)?", pixel.name) or bits < coding.bits:
            continue
        grey = len(pixel.components) == 1
        if pixel.is_rgb != rgb or grey != coding.grey:
            continue
        across, down = (1, 1) if rgb or grey else subsampling(pixel)
        if across <= coding.across and down <= coding.down:
            found.append((bits, -across * down, pixel.name))
    return min(found)[2] if found else None


def not_told(encoding: Encoding, clip: Clip) -> tuple[str, ...]:
    """Names of what the codec has no place for."""
    lost = []
    if encoding.coding.full != clip.coding.full:
        lost.append("full range (samples are those of television)")
    if encoding.light and not encoding.keeps_light:
        lost.append("HDR10 mastering display and light levels")
    return tuple(lost)
