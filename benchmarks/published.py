"""Scores that others published, and times of their models, for ``results.py`` to put beside ours.

None of these figures comes from a command in this repository.
"""

from __future__ import annotations

# Published, not measured here: parameters, then by scale PSNR on Set5, Set14 and B100.
PUBLISHED: dict[str, tuple[str, dict[int, tuple[float, float, float]]]] = {
    "bicubic": ("-", {2: (33.66, 30.24, 29.56), 3: (30.39, 27.55, 27.21), 4: (28.42, 26.0, 25.96)}),
    "FSRCNN": (
        "12K",
        {2: (37.0, 32.63, 31.53), 3: (33.16, 29.43, 28.53), 4: (30.71, 27.59, 26.98)},
    ),
    "VDSR": (
        "665K",
        {2: (37.53, 33.03, 31.9), 3: (33.66, 29.77, 28.82), 4: (31.35, 28.01, 27.29)},
    ),
    "EDSR-baseline": (
        "1.4M",
        {2: (37.99, 33.57, 32.16), 3: (34.37, 30.28, 29.09), 4: (32.09, 28.58, 27.57)},
    ),
    "IMDN": (
        "0.7M",
        {2: (38.0, 33.63, 32.19), 3: (34.36, 30.32, 29.09), 4: (32.21, 28.58, 27.56)},
    ),
    "RLFN": ("0.5M", {2: (38.07, 33.72, 32.22), 4: (32.24, 28.62, 27.6)}),
    "EDSR": (
        "41M",
        {2: (38.11, 33.92, 32.32), 3: (34.65, 30.52, 29.25), 4: (32.46, 28.8, 27.71)},
    ),
    "RCAN": (
        "15M",
        {2: (38.27, 34.12, 32.41), 3: (34.74, 30.65, 29.32), 4: (32.63, 28.87, 27.77)},
    ),
}
# They compared Set14's grey picture by its grey levels; see upres.evaluation.benchmark.
EARLY = {"bicubic", "FSRCNN", "VDSR"}

# Others' models, timed once, before upres was written and on another machine of 2
# cores, as each ships: by scale, seconds to a 1280x720 output and PSNR on Set5, or why none.
OTHERS: dict[int, dict[str, tuple[float, float | str]]] = {
    2: {
        "PlainUSR-U": (0.09, 37.10),
        "OpenCV ESPCN": (0.17, "< 35"),
        "OpenCV FSRCNN": (0.19, "< 35"),
        "PlainUSR": (1.4, 37.95),
        "PlainUSR-L, CFSR": (2.5, 38.07),
        "IMDN": (3.6, 38.00),
        "RLFN": (3.7, 38.07),
        "SMFANet+": (10.5, 38.19),
        "waifu2x (cunet)": (2.0, "-"),
    },
    4: {
        "PlainUSR-U": (0.025, 30.77),
        "OpenCV ESPCN, FSRCNN": (0.04, "< 29"),
        "SPAN (NTIRE 2024)": (0.13, 31.74),
        "PlainUSR": (0.19, 32.02),
        "PlainUSR-L": (0.39, 32.26),
        "RLFN": (0.50, 32.24),
        "BSRN": (0.77, 32.35),
        "HAESR": (1.8, 32.46),
        "SMFANet+": (2.0, 32.51),
        "Real-ESRGAN x4plus": (14.5, "- (GAN)"),
    },
}
