"""Models against bicubic on benchmark sets, by the field's protocol.

One warning for whoever compares with published tables. Set14's ``bridge`` is a grey
picture. The early papers, which the customary bicubic, SRCNN, FSRCNN and VDSR rows come
from, compared its grey levels; EDSR's and RCAN's evaluation code compares its luma as an
RGB picture, as ``upres.metrics.luma`` does. Luma spans 219 levels where grey spans 255,
so that gives ``20 log10(255 / 219) / 14 = 0.09`` dB more on Set14, for every method.
Hence Set14 is reported both ways.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upres import __version__
from upres.errors import InputError, UsageError
from upres.formats.photo import SUFFIXES, read_rgb8
from upres.metrics import PROTOCOL, Scores, score
from upres.model import Model
from upres.resize import bicubic

Rgb8 = NDArray[np.uint8]
Enlarger = Callable[[Rgb8, Model], Rgb8]

BICUBIC = "bicubic"

# The picture's name in the original set, and its number in copies that count.
GREY_PICTURES = {"Set14": ("bridge", "img_003")}

SSIM_WINDOW = 11
"""What a picture must measure at least, once its border is cut off."""


@dataclass(frozen=True)
class Pair:
    """A picture of a benchmark set and, where the set has it, its low-resolution file."""

    name: str
    hr: Path
    lr: Path | None


@dataclass(frozen=True)
class ImageResult:
    """How one method did on one picture."""

    image: str
    scores: Scores
    seconds: float | None
    """Wall-clock time to enlarge it, with the engine's compilation where the picture's
    size is new to it; None for bicubic, which is there for its quality only."""
    scores_as_grey: Scores | None = None
    """For a picture that early papers compared by its grey levels: the scores so."""


@dataclass(frozen=True)
class MethodResult:
    """How one method did on one set."""

    method: str
    model: Path | None
    """The model's file; None for bicubic."""
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
    """Everything that was measured, and what one needs to know to measure it again."""

    scale: int
    sets: tuple[SetResult, ...]
    protocol: str
    version: str
    """Of upres."""
    machine: str
    date: str
    """ISO 8601, in UTC."""


def find_pairs(folder: Path, scale: int) -> list[Pair]:
    """The pictures of a benchmark set, ordered by name.

    A set is a folder with ``HR_x{scale}`` (else ``HR``) and, if it brings its own
    low-resolution pictures, ``LR_x{scale}`` with files of equal names; or just a folder
    of pictures.

    Raises ``InputError`` if the folder is missing, has no pictures, or has an HR picture
    without its LR or the reverse.
    """
    hr_folder, lr_folder = _layout(folder, scale)
    pictures = _pictures(hr_folder)
    if not pictures:
        raise InputError(
            f"{hr_folder}: no pictures there: put some in, of a kind that upres reads "
            f"({', '.join(SUFFIXES)})"
        )
    if lr_folder is None:
        return [Pair(name, path, None) for name, path in pictures.items()]
    small = _pictures(lr_folder)
    for name in sorted(pictures.keys() ^ small.keys()):
        there, missing = hr_folder / name, lr_folder / name
        if name in small:
            there, missing = missing, there
        raise InputError(f"{there}: has no counterpart {missing}: add that or remove this")
    return [Pair(name, path, small[name]) for name, path in pictures.items()]


def _layout(folder: Path, scale: int) -> tuple[Path, Path | None]:
    """Where a set keeps its HR pictures and its LR ones, if it has those."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of a benchmark set")
    own, common, lr = folder / f"HR_x{scale}", folder / "HR", folder / f"LR_x{scale}"
    lr_folder = lr if lr.is_dir() else None
    for hr_folder in (own, common):
        if hr_folder.is_dir():
            return hr_folder, lr_folder
    if lr_folder is not None:
        raise InputError(f"{lr}: has neither {own.name} nor HR beside it: add one of them")
    # Else pictures lying beside HR_x2 would be taken for the set at x3.
    others = sorted(path.name for path in folder.glob("HR_x*") if path.is_dir())
    if others:
        raise InputError(
            f"{folder}: has neither {own.name} nor HR, only {', '.join(others)}: add one "
            "of them or evaluate at another scale"
        )
    return folder, None


def _pictures(folder: Path) -> dict[str, Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror})") from error
    return {
        path.name: path
        for path in paths
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    }


def read_pair(pair: Pair, scale: int) -> tuple[Rgb8, Rgb8]:
    """The HR picture, cut at the bottom and right to a multiple of ``scale``, and the LR.

    Both uint8 RGB, height x width x 3. Where the set has no LR, HR is shrunk as MATLAB
    does.

    Raises ``InputError`` if a file cannot be read, the two sizes do not fit the scale, or
    HR is too small to be compared.
    """
    hr = read_rgb8(pair.hr)
    height, width = (side - side % scale for side in hr.shape[:2])
    least = SSIM_WINDOW + 2 * scale
    if min(height, width) < least:
        raise InputError(
            f"{pair.hr}: {hr.shape[1]}x{hr.shape[0]} pixels are too few to compare at "
            f"x{scale}: each side should have at least {least + -least % scale}; remove it"
        )
    hr = hr[:height, :width]
    if pair.lr is None:
        return hr, bicubic(hr, scale=1 / scale)
    lr = read_rgb8(pair.lr)
    if (lr.shape[0] * scale, lr.shape[1] * scale) != (height, width):
        raise InputError(
            f"{pair.lr}: {lr.shape[1]}x{lr.shape[0]} pixels do not fit the {width}x{height} "
            f"of {pair.hr}: at x{scale} it should have {width // scale}x{height // scale}"
        )
    return hr, lr


def evaluate(
    models: Sequence[Model],
    folders: Sequence[Path],
    *,
    enlarge: Enlarger | None = None,
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score models, and bicubic before them, on benchmark sets.

    All models must have one scale; ``folders`` are as ``find_pairs`` takes them.
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
    run = enlarge or _enlarge
    tell = progress or _silent
    results: list[SetResult] = []
    for folder, pairs in sets:
        result = _evaluate_set(models, folder, pairs, run, tell)
        results.append(result)
        if any(image.scores_as_grey for image in result.methods[0].images):
            results.append(_as_early_papers(result))
    return Evaluation(
        scale=scale,
        sets=tuple(results),
        protocol=PROTOCOL,
        version=__version__,
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _enlarge(image: Rgb8, model: Model) -> Rgb8:
    # Imported late: it brings the engine, which a caller with its own does not need.
    from upres.inference import enlarge

    result: Rgb8 = enlarge(image, model=model)
    return result


def _silent(text: str) -> None:
    pass


def _evaluate_set(
    models: Sequence[Model],
    folder: Path,
    pairs: Sequence[Pair],
    enlarge: Enlarger,
    progress: Callable[[str], None],
) -> SetResult:
    scale = models[0].card.scale
    dataset = folder.resolve().name
    baseline: list[ImageResult] = []
    results: list[list[ImageResult]] = [[] for _ in models]
    for number, pair in enumerate(pairs, 1):
        progress(f"{dataset} {number}/{len(pairs)}: {pair.name}")
        hr, lr = read_pair(pair, scale)
        grey = Path(pair.name).stem in GREY_PICTURES.get(dataset, ())
        baseline.append(_result(pair.name, bicubic(lr, scale=scale), hr, scale, grey, None))
        for model, images in zip(models, results, strict=True):
            start = time.perf_counter()
            estimate = enlarge(lr, model)
            seconds = time.perf_counter() - start
            images.append(_result(pair.name, estimate, hr, scale, grey, seconds))
    return SetResult(
        dataset=dataset,
        folder=folder,
        lr_from_files=pairs[0].lr is not None,
        methods=(
            MethodResult(BICUBIC, None, tuple(baseline)),
            *(
                MethodResult(name, model.path, tuple(images))
                for name, model, images in zip(_names(models), models, results, strict=True)
            ),
        ),
    )


def _result(
    name: str, estimate: Rgb8, hr: Rgb8, scale: int, grey: bool, seconds: float | None
) -> ImageResult:
    as_grey = score(estimate, hr, border=scale, as_grey=True) if grey else None
    return ImageResult(name, score(estimate, hr, border=scale), seconds, as_grey)


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


def _names(models: Sequence[Model]) -> list[str]:
    """The models' labels, with the file where two models have one label."""
    labels = [model.label for model in models]
    return [
        label if labels.count(label) == 1 else f"{label} ({model.path})"
        for label, model in zip(labels, models, strict=True)
    ]
