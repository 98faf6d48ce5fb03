"""Whether bounds of errors keep their promise, on benchmark sets whose truth is known."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from upres.card import Model
from upres.evaluation.compression import Jpeg
from upres.evaluation.datasets import Rgb8, find_pairs, read_pair, set_name
from upres.evaluation.models import tell_apart
from upres.files import replacing
from upres.head import head_card_of
from upres.raster.pixels import Float32Array

Bounder = Callable[[Rgb8, Model], tuple[Rgb8, Float32Array]]

BOUNDS_NOTE = (
    "bounds: of samples of red, green and blue in 256 levels, all pixels; quartiles are those of "
    "the half-width over the set; 'constant' is the one half-width for all pixels that covers as "
    "much of the set; 'rank' is Spearman's correlation of half-widths and errors"
)

_LEVELS = 256

_STEPS = 40
"""Half-widths are counted in this many classes for each factor of two, from half a level on."""

_CLASSES = 9 * _STEPS + 1


@dataclass(frozen=True)
class PictureBounds:
    """How a picture's errors lie in their bounds."""

    image: str
    coverage: float
    """The part of its samples that lies within."""
    half_width: float
    """The mean over pixels, in grey levels."""


@dataclass
class SetBounds:
    """How the errors of one model's results lie in their bounds, on one set."""

    dataset: str
    method: str
    level: float
    images: list[PictureBounds] = field(default_factory=list)
    counts: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros((_CLASSES, _LEVELS), np.int64)
    )
    """Samples by class of half-width and by error."""
    covered: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_CLASSES, np.int64))
    """Those within their bounds, by class of half-width."""

    def add(self, image: str, result: Rgb8, widths: Float32Array, truth: Rgb8) -> None:
        """Take a picture into account: height x width x 3, its half-widths height x width."""
        errors = np.abs(result.astype(np.int16) - truth)
        within = errors <= widths[:, :, None]
        classes = np.log2(np.maximum(widths, 0.5) / 0.5) * _STEPS
        numbers = np.minimum(classes.astype(np.intp), _CLASSES - 1)
        numbers = np.broadcast_to(numbers[:, :, None], errors.shape)
        places = (numbers * _LEVELS + errors).ravel()
        self.counts += np.bincount(places, minlength=self.counts.size).reshape(self.counts.shape)
        self.covered += np.bincount(numbers[within], minlength=_CLASSES)
        self.images.append(
            PictureBounds(image, float(within.mean()), float(widths.mean(dtype=np.float64)))
        )

    @property
    def coverage(self) -> float:
        """The mean over pictures."""
        return float(np.mean([image.coverage for image in self.images]))

    @property
    def half_width(self) -> float:
        """The mean over pictures, in grey levels."""
        return float(np.mean([image.half_width for image in self.images]))

    @property
    def least(self) -> PictureBounds:
        """The picture with the least coverage."""
        return min(self.images, key=lambda image: image.coverage)

    @property
    def quartiles(self) -> tuple[float, ...]:
        """Coverage of the quarter of all samples with the smallest half-widths, and so on."""
        totals = self.counts.sum(1)
        # A class that a border runs through belongs to both sides in proportion.
        ends = np.concatenate([[0], totals.cumsum()])
        inside = np.concatenate([[0.0], self.covered.cumsum()])
        borders = np.interp(np.linspace(0, ends[-1], 5), ends, inside)
        return tuple(float(part) for part in np.diff(borders) / (ends[-1] / 4))

    @property
    def constant(self) -> float:
        """The half-width, the same for all pixels, that covers as many of all samples."""
        by_error = self.counts.sum(0).cumsum() / self.counts.sum()
        wanted = self.covered.sum() / self.counts.sum()
        # Errors are whole: between two levels, a part of the larger counts.
        return float(np.interp(wanted, by_error, np.arange(_LEVELS)))

    @property
    def rank(self) -> float:
        """Spearman's rank correlation of half-widths, by class, and errors, over all samples."""
        total = self.counts.sum()
        ranks = []
        for axis in (1, 0):
            counts = self.counts.sum(axis)
            ranks.append(counts.cumsum() - counts / 2 - total / 2)
        of_widths, of_errors = ranks
        product = float(of_widths @ self.counts.astype(np.float64) @ of_errors)
        squares = [
            float(self.counts.sum(1) @ of_widths**2),
            float(self.counts.sum(0) @ of_errors**2),
        ]
        return product / (squares[0] * squares[1]) ** 0.5 if all(squares) else 0.0

    def as_data(self) -> dict[str, Any]:
        """All of it by name, for JSON."""
        return {
            "set": self.dataset,
            "method": self.method,
            "level": self.level,
            "coverage": self.coverage,
            "least": {"image": self.least.image, "coverage": self.least.coverage},
            "coverage_by_quartile_of_half_width": list(self.quartiles),
            "mean_half_width": self.half_width,
            "constant_half_width": self.constant,
            "rank_correlation": self.rank,
            "images": [vars(image) for image in self.images],
        }


def evaluate_bounds(
    models: Sequence[Model],
    folders: Sequence[Path],
    *,
    sources: Sequence[Path] | None = None,
    jpeg: Jpeg | None = None,
    bound: Bounder | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[SetBounds]:
    """Measure the bounds of models' errors on benchmark sets; the arguments are ``evaluate``'s.

    ``bound`` gives a model's result for an LR picture, and its half-widths; by default it is
    ``upres.enlarge`` with ``errors="force"``, as only this knows how the LR pictures came about.

    Raises ``ModelError`` if a model has no head, ``InputError`` if a picture is not fit for use.
    """
    bound = bound or bound_rgb8
    paths = sources or [model.path for model in models]
    names = tell_apart([model.label for model in models], paths)
    found = []
    for folder in folders:
        dataset = set_name(folder)
        sets = [
            SetBounds(dataset, name, promised_level(model))
            for name, model in zip(names, models, strict=True)
        ]
        for pair in find_pairs(folder, models[0].card.scale):
            if progress:
                progress(f"bounds: {dataset}, {pair.name}")
            hr, lr = read_pair(pair, models[0].card.scale, jpeg)
            for model, each in zip(models, sets, strict=True):
                each.add(pair.name, *bound(lr, model), hr)
        found += sets
    return found


def promised_level(model: Model) -> float:
    """The part of samples that a model's head promises to cover; 0 if it has none."""
    card = head_card_of(model)
    return card.level if card else 0.0


def bound_rgb8(image: Rgb8, model: Model) -> tuple[Rgb8, Float32Array]:
    """``upres.enlarge`` with half-widths, for uint8 RGB, height x width x 3."""
    from upres.enlarging.api import enlarge

    return enlarge(image, model=model, errors="force")


def bounds_table(found: Sequence[SetBounds]) -> Table:
    """One row for each set and model."""
    result = Table(
        title="bounds of errors", caption=f"{BOUNDS_NOTE}.", box=box.SIMPLE_HEAD, padding=0
    )
    result.add_column("set", min_width=6, overflow="fold")
    result.add_column("method", min_width=8, overflow="fold")
    for column in (
        "level",
        "cover-\nage",
        "least",
        "by quarter of half-width",
        "mean",
        "con-\nstant",
        "rank",
    ):
        result.add_column(column, justify="right")
    for each in found:
        result.add_row(
            each.dataset,
            each.method,
            f"{each.level:.2f}",
            f"{each.coverage:.3f}",
            f"{each.least.coverage:.3f}",
            " ".join(f"{part:.3f}" for part in each.quartiles),
            f"{each.half_width:.2f}",
            f"{each.constant:.2f}",
            f"{each.rank:.3f}",
        )
    return result


def write_bounds_csv(found: Sequence[SetBounds], path: Path) -> None:
    """Write a row for each set, model and picture; raises ``OutputError`` if it cannot be."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["set", "method", "image", "coverage", "half_width"])
    for each in found:
        for image in each.images:
            writer.writerow(
                [each.dataset, each.method, image.image, image.coverage, image.half_width]
            )
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
