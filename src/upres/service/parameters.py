"""The parameters of a request, as options of an enlargement."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from upres.enlarging.options import Bounding, Consistent, Options, Palette
from upres.formats.registry import OUTPUT_SUFFIXES
from upres.models import Precision
from upres.models.catalogue import catalogue
from upres.runs.jobs import COG, is_cog, suffix_called
from upres.service.problems import one_line

MAP_STEM = "errors"
"""The name of an error map's file, without its suffix."""

LONGEST_SHOWN_NAME = 120
"""Letters of a file's name that are kept."""

MODEL_NAMES = ("auto", *(listed.name for listed in catalogue()))
"""``auto`` lets the picture decide. Nothing else can be named: no path, no address."""

FORMAT_NAMES = ("auto", *(suffix.removeprefix(".") for suffix in OUTPUT_SUFFIXES), COG)
"""``auto`` is the picture's own, if that is written."""

_CONSISTENT: dict[str, Consistent | None] = {
    "auto": None,
    "false": False,
    "true": True,
    "force": "force",
}

_ERRORS: dict[str, Bounding] = {"false": False, "true": True, "force": "force"}

ErrorMapKind = Literal["tif", "png", "json"]
"""Half-widths, a picture of them, or a summary."""


def _one_of(known: tuple[str, ...]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"expected one of {', '.join(known)}")
        return value

    return AfterValidator(check)


class Parameters(BaseModel):
    """How a picture is to be enlarged; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid")

    scale: float | None = Field(
        None, ge=1, le=64, allow_inf_nan=False, description="Factor, not necessarily whole"
    )
    width: int | None = Field(None, ge=1, le=10**6, description="Width of the result in pixels")
    height: int | None = Field(None, ge=1, le=10**6, description="Height of the result in pixels")
    fit: str | None = Field(
        None,
        pattern=r"^[1-9][0-9]{0,5}x[1-9][0-9]{0,5}$",
        description="Width and height within which the result fits, such as 3840x2160",
    )
    model: Annotated[str, _one_of(MODEL_NAMES)] = Field(
        "auto",
        description="A shipped model; auto lets the picture decide",
        json_schema_extra={"enum": list(MODEL_NAMES)},
    )
    precision: Precision = Field("auto", description="Of the model; auto is the fastest here")
    format: Annotated[str, _one_of(FORMAT_NAMES)] = Field(
        "auto",
        description="Of the result; auto is that of the picture",
        json_schema_extra={"enum": list(FORMAT_NAMES)},
    )
    quality: int | None = Field(None, ge=1, le=100, description="Of JPEG, WebP and AVIF")
    keep_cmyk: bool = Field(False, description="Keep CMYK instead of converting it to sRGB")
    wrap: bool = Field(False, description="A tile, whose opposite edges continue each other")
    palette: Palette = Field(
        "free", description="keep is for pixel art: the result has the picture's colours only"
    )
    larger: Literal["refuse", "copy", "reduce"] = Field(
        "refuse", description="Of a picture that is larger already: refuse, copy or reduce it"
    )
    consistent: Literal["auto", "false", "true", "force"] = Field(
        "auto",
        description="Make the result agree with its input; auto does for measurements, force "
        "whatever JPEG has done",
    )
    keep_means: bool = Field(False, description="GeoTIFF: the result agrees by means, not bicubic")
    labels: bool = Field(False, description="Samples are numbers of classes: each is repeated")
    through_plane: bool = Field(False, description="Enlarge volumes between their slices, too")
    check: bool | None = Field(
        None,
        description="Tell how well the result agrees with its input; it is told unless the "
        "picture is to be reduced",
    )
    errors: Literal["auto", "false", "true", "force"] = Field(
        "auto",
        description="Bound the error of each pixel; auto does where an error map is asked for, "
        "force even where nothing can be promised",
    )
    error_map: ErrorMapKind | None = Field(
        None,
        description="Give a map of these bounds, too: tif holds them, png shows them, json sums "
        "them up. With it, the answer of /enlarge is a zip of both files; of a job, it is fetched "
        "by itself",
    )
    name: str = Field("", max_length=1024, description="The picture's file name, for messages")

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        given = [n for n in ("scale", "width", "height", "fit") if getattr(self, n) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of scale, width, height and fit, not {' and '.join(given)}")
        return self

    def options(self, max_pixels: int, folder: Path = Path()) -> Options:
        """As the library has them; raises ``UsageError`` if they contradict each other.

        An error map goes into ``folder``.
        """
        maps = () if self.error_map is None else (folder / f"{MAP_STEM}.{self.error_map}",)
        fit = None
        if self.fit is not None:
            width, _, height = self.fit.partition("x")
            fit = (int(width), int(height))
        return Options(
            model=None if self.model == "auto" else self.model,
            precision=self.precision,
            scale=self.scale,
            width=self.width,
            height=self.height,
            fit=fit,
            quality=self.quality,
            cmyk=self.keep_cmyk,
            wrap=self.wrap,
            palette=self.palette,
            larger=self.larger,
            consistent=_CONSISTENT[self.consistent],
            keep_means=self.keep_means,
            labels=self.labels,
            through_plane=self.through_plane,
            check=self.larger != "reduce" if self.check is None else self.check,
            errors=_ERRORS.get(self.errors, bool(maps)),
            error_map=maps,
            cog=is_cog(self.format),
            max_pixels=max_pixels,
        )

    @property
    def suffix(self) -> str | None:
        """Of the result's format; ``None`` is the picture's own."""
        return None if self.format == "auto" else suffix_called(self.format)


def safe_name(given: str) -> str:
    """A file's name without folders, control characters or signs that mislead; never empty.

    It is text for messages and for the result's name: no file of the service is called by it.
    """
    name = PureWindowsPath(PurePosixPath(given).name).name
    name = unicodedata.normalize("NFC", name)
    kept = "".join(c for c in name if c.isprintable() and c not in '<>:"/\\|?*\u200e\u200f')
    kept = one_line(kept).lstrip(".").strip()
    stem, dot, suffix = kept.rpartition(".")
    if dot and len(suffix) <= 10:
        kept = f"{stem[: LONGEST_SHOWN_NAME - len(suffix) - 1]}.{suffix}"
    return kept[:LONGEST_SHOWN_NAME] or "picture"
