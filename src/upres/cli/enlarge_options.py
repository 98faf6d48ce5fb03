"""The arguments and options of ``upres enlarge``, as its help shows them."""

from __future__ import annotations

from typing import Annotated, Literal

from upres.cli.help import OTHER, argument, option

SIZE = "How large"
MODEL = "Which model, and where it runs"
RESULTS = "Results"
MANY = "Runs over many files"

Pictures = Annotated[list[str], argument("PICTURE")]

ScaleOption = Annotated[
    float | None,
    option(
        *("--scale", "-s"),
        takes="FACTOR",
        help="At least 1, as 2.5 (default: the model's largest factor).",
        panel=SIZE,
    ),
]

WidthOption = Annotated[
    int | None, option("--width", takes="PIXELS", help="Width of the results.", panel=SIZE)
]

HeightOption = Annotated[
    int | None, option("--height", takes="PIXELS", help="Height of the results.", panel=SIZE)
]

FitOption = Annotated[
    str | None,
    option(
        "--fit",
        takes="WxH",
        help="Largest size that fits, such as 3840x2160.",
        panel=SIZE,
    ),
]

LargerOption = Annotated[
    Literal["refuse", "skip", "copy", "reduce"],
    option(
        "--larger",
        takes="NAME",
        help="A picture that is larger already: refuse (default), skip, copy, reduce.",
        panel=SIZE,
        show_default=False,
    ),
]

MaxPixelsOption = Annotated[
    int | None,
    option(
        "--max-pixels",
        takes="PIXELS",
        help="Refuse larger results (default: 1,073,741,824).",
        panel=SIZE,
    ),
]

ModelOption = Annotated[
    str | None,
    option(
        *("--model", "-m"),
        takes="MODEL",
        help="A name that upres models lists, an .onnx file, or hf://owner/name@revision, "
        "which is fetched from Hugging Face (default: the picture decides).",
        panel=MODEL,
    ),
]

PrecisionOption = Annotated[
    Literal["auto", "fp32", "bf16", "fp16", "int8"],
    option(
        "--precision",
        takes="NAME",
        help="fp32, bf16, fp16, int8, or auto (default): the device decides.",
        panel=MODEL,
        show_default=False,
    ),
]

DeviceOption = Annotated[
    Literal["auto", "cpu", "gpu"],
    option(
        "--device",
        takes="NAME",
        help="cpu, gpu, or auto (default): a GPU where ONNX Runtime has one.",
        panel=MODEL,
        show_default=False,
    ),
]

ThreadsOption = Annotated[
    int | None,
    option(
        "--threads",
        takes="NUMBER",
        help="Of the processor, at most (default: what the container leaves, or all).",
        panel=MODEL,
    ),
]

OutputOption = Annotated[
    str | None,
    option(
        *("--output", "-o"),
        takes="PATH",
        help="A file, a folder, or - for standard output (default: beside the picture).",
        panel=RESULTS,
    ),
]

FormatOption = Annotated[
    str | None,
    option("--format", takes="NAME", help="png, jpg, cog... (default: its own).", panel=RESULTS),
]

QualityOption = Annotated[
    int | None,
    option(
        "--quality",
        takes="NUMBER",
        help="Of JPEG, WebP and AVIF, 1 to 100 (default: the picture's, but high).",
        panel=RESULTS,
    ),
]

WrapOption = Annotated[
    bool,
    option("--wrap", help="Tiles, whose opposite edges continue each other.", panel=RESULTS),
]

PaletteOption = Annotated[
    Literal["free", "keep"],
    option(
        "--palette",
        takes="NAME",
        help="Colours of the results: free (default), or keep, for pixel art: the picture's.",
        panel=RESULTS,
        show_default=False,
    ),
]

KeepCmykOption = Annotated[
    bool,
    option("--keep-cmyk", help="Keep CMYK instead of converting it to sRGB.", panel=RESULTS),
]

ConsistentOption = Annotated[
    bool | None,
    option(
        "--consistent/--no-consistent",
        help="Reduced again, results are their pictures (default: GeoTIFF, DICOM, NIfTI).",
        panel=RESULTS,
    ),
]

ForceConsistentOption = Annotated[
    bool,
    option(
        "--force-consistent",
        help="The same, even with what JPEG has changed.",
        panel=RESULTS,
    ),
]

CheckOption = Annotated[
    bool,
    option("--check", help="Tell how well results agree with their pictures.", panel=RESULTS),
]

ErrorMapOption = Annotated[
    list[str] | None,
    option(
        "--error-map",
        takes="PATH",
        help="Bound each pixel's error: .tif (values), .png (colours), .json (summary); may be "
        "repeated.",
        panel=RESULTS,
    ),
]

ForceErrorMapOption = Annotated[
    bool,
    option(
        "--force-error-map",
        help="The same, even where nothing is promised.",
        panel=RESULTS,
    ),
]

KeepMeansOption = Annotated[
    bool,
    option("--keep-means", help="GeoTIFF: results agree by means, not bicubic.", panel=RESULTS),
]

LabelsOption = Annotated[
    bool,
    option("--labels", help="Samples are numbers of classes: repeat them.", panel=RESULTS),
]

ThroughPlaneOption = Annotated[
    bool, option("--through-plane", help="Enlarge between slices, too.", panel=RESULTS)
]

ForceOption = Annotated[
    bool, option("--force", "-f", help="Replace existing files.", panel=RESULTS)
]

RecursiveOption = Annotated[
    bool,
    option("--recursive", "-r", help="Look into the folders inside folders, too.", panel=MANY),
]

ResumeOption = Annotated[
    bool,
    option("--resume", help="Go on with an interrupted run into --output.", panel=MANY),
]

SkipExistingOption = Annotated[
    bool,
    option(
        "--skip-existing",
        help="Pass over pictures that have a result, and its error map if one is asked for.",
        panel=MANY,
    ),
]

QuietOption = Annotated[bool, option("--quiet", "-q", help="Print errors only.", panel=OTHER)]
