"""Models against bicubic on benchmark sets, by the field's protocol.

One warning for whoever compares with published tables. Set14's ``bridge`` is a grey
picture. The early papers, which the customary bicubic, SRCNN, FSRCNN and VDSR rows come
from, compared its grey levels; EDSR's and RCAN's evaluation code compares its luma as an
RGB picture, as ``upres.raster.metrics.studio_luma`` does. Luma spans 219 levels where grey
spans 255, so that gives ``20 log10(255 / 219) / 14 = 0.09`` dB more on Set14, for every method.
Hence Set14 is reported both ways.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from upres import __version__
from upres.card import Model
from upres.engine.complexity import multiply_adds, parameter_count
from upres.engine.machine import usable_processors
from upres.errors import UsageError
from upres.evaluation.compression import Jpeg
from upres.evaluation.datasets import Pair, Rgb8, find_pairs, read_pair, set_name
from upres.evaluation.models import tell_apart
from upres.raster.metrics import PROTOCOL, PROTOCOL_AT_X1, Scores, lr_consistency, score
from upres.raster.resize import bicubic

Enlarger = Callable[[Rgb8, Model], Rgb8]

BICUBIC = "bicubic"
INPUT = "the input"
"""Stands in the place of bicubic at x1, where nothing is enlarged."""

TIME_AGAIN_BELOW = 5.0
"""Seconds. A picture that took less is timed a second time, as compiling the engine for the
picture's size may have been much of it."""

# The picture's name in the original set, and its number in copies that count.
GREY_PICTURES = {"Set14": ("bridge", "img_003")}


@dataclass(frozen=True)
class ImageResult:
    """How one method did on one picture."""

    image: str
    scores: Scores
    lr_psnr: float
    """LR-consistency in decibels; see ``upres.raster.metrics.lr_consistency``."""
    seconds: float | None
    """Wall-clock time to enlarge it, without compiling the engine where that matters
    (``TIME_AGAIN_BELOW``); None for bicubic, which is there for its quality only."""
    scores_as_grey: Scores | None = None
    """For a picture that early papers compared by its grey levels: the scores so."""
    jpeg_quality: int | None = None
    """Of the JPEG file that the LR has been through, if it has."""


@dataclass(frozen=True)
class MethodResult:
    """How one method did on one set."""

    method: str
    model: Path | None
    """The model's file; None for bicubic."""
    parameters: int | None
    """None for bicubic."""
    multiply_adds: int | None
    """For a 1280x720 output; None for bicubic, and where the graph does not tell."""
    images: tuple[ImageResult, ...]

    @property
    def means(self) -> Scores:
        """Means of the pictures' scores; of PSNR too, as is the field's custom, rather
        than the PSNR of the mean MSE. Infinite PSNR of one picture makes it infinite.
        """
        scores = [image.scores for image in self.images]
        return Scores(
            psnr=statistics.fmean(s.psnr for s in scores),
            ssim=statistics.fmean(s.ssim for s in scores),
            mse=statistics.fmean(s.mse for s in scores),
            mae=statistics.fmean(s.mae for s in scores),
        )

    @property
    def lr_psnr(self) -> float:
        """Mean LR-consistency in decibels."""
        return statistics.fmean(image.lr_psnr for image in self.images)

    @property
    def seconds(self) -> float | None:
        """Mean seconds a picture; None for bicubic."""
        times = [image.seconds for image in self.images if image.seconds is not None]
        return statistics.fmean(times) if times else None


@dataclass(frozen=True)
class SetResult:
    """How every method did on one benchmark set; bicubic comes first."""

    dataset: str
    folder: Path
    lr_from_files: bool
    """Whether the set brought its low-resolution pictures; else bicubic made them."""
    methods: tuple[MethodResult, ...]


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured, and the facts that one needs to measure it again."""

    scale: int
    sets: tuple[SetResult, ...]
    protocol: str
    version: str
    """Of upres."""
    machine: str
    date: str
    """ISO 8601, in UTC."""
    jpeg: Jpeg | None = None
    """Files that LR pictures have been through; ``protocol`` names them, too."""


def evaluate(
    models: Sequence[Model],
    folders: Sequence[Path],
    *,
    sources: Sequence[Path] | None = None,
    jpeg: Jpeg | None = None,
    enlarge: Enlarger | None = None,
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score models, and bicubic (at x1 the input) before them, on benchmark sets.

    All models must have one scale; ``folders`` are as ``find_pairs`` takes them. ``sources``
    are the files that name the models, by default their own. With
    ``jpeg``, all methods, bicubic too, get LR pictures that have been through these files.
    ``enlarge`` takes an LR picture (uint8 RGB, height x width x 3) and a model, and gives
    the picture ``scale`` times as large; by default it is ``upres.enlarge``. ``progress``
    is called before each picture with a short text that names it.

    Raises ``ValueError`` if there are no models or no folders, ``UsageError`` if the
    models' scales differ, ``InputError`` if a set or a picture is not fit for use; sets
    are looked through before any picture is enlarged.
    """
    if not models or not folders:
        raise ValueError("give at least one model and one folder")
    scale = models[0].card.scale
    for model in models:
        if model.card.scale != scale:
            raise UsageError(
                f"{models[0].label} and {model.label} enlarge differently: evaluate models "
                "of one scale at a time"
            )
    sets = [(folder, find_pairs(folder, scale)) for folder in folders]
    run = enlarge or enlarge_rgb8
    named = list(zip(models, sources or [model.path for model in models], strict=True))
    tell = progress or _silent
    results: list[SetResult] = []
    for folder, pairs in sets:
        result = _evaluate_set(named, folder, pairs, jpeg, run, tell)
        results.append(result)
        if any(image.scores_as_grey for image in result.methods[0].images):
            results.append(_as_early_papers(result))
    protocol = PROTOCOL if scale > 1 else PROTOCOL_AT_X1
    return Evaluation(
        scale=scale,
        sets=tuple(results),
        protocol=f"{protocol}; {jpeg.protocol}" if jpeg else protocol,
        version=__version__,
        machine=f"{platform.system()} {platform.machine()}, {usable_processors()} processors",
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        jpeg=jpeg,
    )


def enlarge_rgb8(image: Rgb8, model: Model) -> Rgb8:
    """``upres.enlarge`` for uint8 RGB, height x width x 3."""
    # Imported late: it brings the engine, which a caller with its own does not need.
    from upres.enlarging.api import enlarge

    result: Rgb8 = enlarge(image, model=model)
    return result


def _silent(text: str) -> None:
    pass


def _evaluate_set(
    named: Sequence[tuple[Model, Path]],
    folder: Path,
    pairs: Sequence[Pair],
    jpeg: Jpeg | None,
    enlarge: Enlarger,
    progress: Callable[[str], None],
) -> SetResult:
    models, sources = zip(*named, strict=True)
    scale = models[0].card.scale
    dataset = set_name(folder)
    names = tell_apart([model.label for model in models], sources)
    baseline: list[ImageResult] = []
    results: list[list[ImageResult]] = [[] for _ in models]
    for number, pair in enumerate(pairs, 1):
        progress(f"{dataset} {number}/{len(pairs)}: {pair.name}")
        hr, lr = read_pair(pair, scale, jpeg)
        grey = Path(pair.name).stem in GREY_PICTURES.get(dataset, ())
        quality = jpeg.quality(pair.name) if jpeg else None
        large = bicubic(lr, scale=scale)  # at x1 the same
        baseline.append(_result(pair.name, large, hr, lr, grey, None, quality))
        for model, images in zip(models, results, strict=True):
            estimate, seconds = _timed(enlarge, lr, model)
            images.append(_result(pair.name, estimate, hr, lr, grey, seconds, quality))
    return SetResult(
        dataset=dataset,
        folder=folder,
        lr_from_files=pairs[0].lr is not None,
        methods=(
            MethodResult(BICUBIC if scale > 1 else INPUT, None, None, None, tuple(baseline)),
            *(
                MethodResult(
                    name, source, parameter_count(model), multiply_adds(model), tuple(images)
                )
                for name, (model, source), images in zip(names, named, results, strict=True)
            ),
        ),
    )


def _timed(enlarge: Enlarger, lr: Rgb8, model: Model) -> tuple[Rgb8, float]:
    start = time.perf_counter()
    estimate = enlarge(lr, model)
    seconds = time.perf_counter() - start
    if seconds < TIME_AGAIN_BELOW:
        start = time.perf_counter()
        enlarge(lr, model)
        seconds = min(seconds, time.perf_counter() - start)
    return estimate, seconds


def _result(
    name: str,
    estimate: Rgb8,
    hr: Rgb8,
    lr: Rgb8,
    grey: bool,
    seconds: float | None,
    jpeg_quality: int | None,
) -> ImageResult:
    scale = hr.shape[0] // lr.shape[0]
    return ImageResult(
        image=name,
        scores=score(estimate, hr, border=scale),
        lr_psnr=lr_consistency(estimate, lr),
        seconds=seconds,
        scores_as_grey=score(estimate, hr, border=scale, as_grey=True) if grey else None,
        jpeg_quality=jpeg_quality,
    )


def _as_early_papers(result: SetResult) -> SetResult:
    """The same with grey pictures' scores by grey level, as a set of its own."""
    methods = tuple(
        replace(
            method,
            images=tuple(replace(i, scores=i.scores_as_grey or i.scores) for i in method.images),
        )
        for method in result.methods
    )
    return replace(result, dataset=f"{result.dataset} (grey as grey)", methods=methods)
