"""HDR10's static metadata: how bright a display and the frames are, read and told to encoders."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Light:
    """HDR10's static metadata (SMPTE ST 2086, CTA-861.3)."""

    primaries: tuple[Fraction, ...] = ()
    """x and y of red, green, blue and white; empty where they are not told."""
    luminance: tuple[Fraction, Fraction] | None = None
    """The darkest and the brightest of the display, in cd/m2."""
    content: tuple[int, int] | None = None
    """MaxCLL and MaxFALL, in cd/m2."""


def light_of(side: dict[str, bytes]) -> Light | None:
    """Of a frame's side data, by FFmpeg's names of its kinds; ``None`` where there is none."""
    primaries: tuple[Fraction, ...] = ()
    luminance = content = None
    if (block := side.get("MASTERING_DISPLAY_METADATA")) and len(block) >= 88:
        *numbers, has_primaries, has_luminance = struct.unpack("<22i", block[:88])
        parts = [Fraction(n, d or 1) for n, d in zip(numbers[::2], numbers[1::2], strict=True)]
        primaries = tuple(parts[:8]) if has_primaries else ()
        luminance = (parts[8], parts[9]) if has_luminance else None
    if (block := side.get("CONTENT_LIGHT_LEVEL")) and len(block) >= 8:
        most, mean = struct.unpack("<2I", block[:8])
        content = (most, mean) if most or mean else None
    if primaries or luminance or content:
        return Light(primaries, luminance, content)
    return None


def light_params(
    light: Light | None, display: str, content: str, *, scaled: bool = False
) -> list[str]:
    """HDR10's metadata as encoders are told it; x264 and x265 count in units of the standard."""
    params = []
    if light and light.primaries and light.luminance:
        red, green, blue, white = (light.primaries[i : i + 2] for i in range(0, 8, 2))
        place, level = (50000, 10000) if scaled else (1, 1)

        def pair(values: tuple[Fraction, ...], unit: int) -> str:
            shown = (f"{round(v * unit)}" if scaled else f"{float(v):.6g}" for v in values)
            return "({})".format(",".join(shown))

        darkest, brightest = light.luminance
        params.append(
            f"{display}=G{pair(green, place)}B{pair(blue, place)}R{pair(red, place)}"
            f"WP{pair(white, place)}L{pair((brightest, darkest), level)}"
        )
    if light and light.content:
        params.append(f"{content}={light.content[0]},{light.content[1]}")
    return params
