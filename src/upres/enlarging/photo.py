"""Enlarges photographs: JPEG, PNG, WebP, TIFF, AVIF and GIF, through libvips."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.card import Model
from upres.enlarging.choice import choose_models
from upres.enlarging.options import Estimate, Options, output_size
from upres.enlarging.windows import Progress, enlarge_windows
from upres.errors import InputError, OutputError
from upres.files import full_disk, replacing, temporary, temporary_name
from upres.formats.image import tiff_pages
from upres.formats.image.opening import examined, open_photo
from upres.formats.image.picture import Photo
from upres.formats.image.saving import (
    TIFF,
    check_output,
    check_suffix,
    needs_bigtiff,
    sample_type,
    save,
)
from upres.raster.pixels import Float32Array
from upres.raster.spool import Spool


@dataclass(frozen=True)
class PhotoEnlargement:
    """A photograph that is open, and what is to become of it: see ``upres.formats``."""

    photo: Photo
    options: Options
    models: list[Model]
    why: str
    """The models are these, if the file decided; see ``upres.enlarging.choice``."""
    height: int
    """Of a frame of the result."""
    width: int

    @property
    def estimate(self) -> Estimate:
        """What this will make and need."""
        return Estimate(
            width=self.width,
            height=self.height,
            pages=self.photo.frames,
            pixels=self.photo.frames * self.height * self.width,
            disk_bytes=self._disk_bytes(self.photo),
        )

    @property
    def content_bytes(self) -> int:
        """What the result's pixels take, not compressed, as samples of the picture's own type."""
        return self._content_bytes(self.photo)

    def write(
        self, target: Path, *, replace: bool = True, progress: Progress | None = None
    ) -> None:
        """Make the result, and write it to ``target``.

        It is put together in memory or, if it is large, on disk beside ``target``, and then
        encoded.
        """
        with replacing(target, replace=replace) as path:
            self.write_as(path, target, progress=progress)

    def write_as(
        self,
        path: Path,
        target: Path,
        *,
        bigtiff: bool | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Make the result, and write it to ``path``; the caller makes ``target`` of that.

        A TIFF file is a BigTIFF if ``bigtiff`` says so, or, without a word, if it needs to be.
        """
        photo = self.photo
        # What can be told without decoding, first; whether alpha is opaque cannot.
        header = dataclasses.replace(photo, alpha=False)
        check_output(target, header, height=self.height, width=self.width)
        photo = examined(photo)
        check_output(target, photo, height=self.height, width=self.width)
        _check_disk(target, self._disk_bytes(photo))
        if bigtiff is None:
            bigtiff = needs_bigtiff(self._content_bytes(photo))
        dtype = sample_type(target, photo)
        shape = (photo.frames * self.height, self.width, photo.channels)
        with Spool(temporary_name(target, ".raw"), shape, dtype) as result:
            for frame, blocks in enumerate(photo.blocks()):

                def store(
                    top: int, left: int, block: Float32Array, start: int = frame * self.height
                ) -> None:
                    result.write(start + top, left, photo.from_float(block, dtype))

                share = 1 / photo.frames
                part = partial(_share, progress, frame * share, share) if progress else None
                _enlarge_frame(photo, self, blocks, target, store, part)
            save(result, path, photo, self.options, target, bigtiff=bigtiff)

    def _content_bytes(self, photo: Photo) -> int:
        samples = self.height * self.width * (photo.channels + photo.opaque_alpha)
        return photo.frames * samples * photo.dtype.itemsize

    def _disk_bytes(self, photo: Photo) -> int:
        """The result before it is encoded, as a file, and what lies between models."""
        # Encoded, it may be as large; metadata and the like are small beside this.
        needed = 2 * self._content_bytes(photo) + 2**20
        pixels = photo.height * photo.width * photo.channels
        if photo.orientation != 1:
            needed += pixels * photo.dtype.itemsize
        for count in range(1, len(self.models)):
            scale = math.prod(model.card.scale for model in self.models[:count])
            needed += 4 * pixels * scale**2
        return needed


@dataclass(frozen=True)
class PagesEnlargement:
    """A TIFF file of several pages, of any sizes and kinds: see ``upres.formats``."""

    source: Path
    options: Options
    pages: dict[int, int]
    """By their numbers in the file, from 0: where their directories are."""
    estimate: Estimate
    parts: list[int]
    """How many pixels each page of the result has."""
    bigtiff: bool
    why: str = ""

    def write(
        self, target: Path, *, replace: bool = True, progress: Progress | None = None
    ) -> None:
        """Make the result page by page, and write it to ``target``."""
        check_suffix(target)
        if target.suffix.lower() not in TIFF:
            raise OutputError(
                f"{target}: {target.suffix} cannot hold the file's {len(self.pages)} pages: "
                "choose .tif"
            )
        _check_disk(target, self.estimate.disk_bytes)
        done = 0
        with replacing(target, replace=replace) as result, result.open("r+b") as file:
            pointer = tiff_pages.begin(file, big=self.bigtiff)
            pages = zip(self.pages.items(), self.parts, strict=True)
            for number, ((page, directory), pixels) in enumerate(pages):
                start, share = done / self.estimate.pixels, pixels / self.estimate.pixels
                part = partial(_share, progress, start, share) if progress else None
                with temporary(target, target.suffix) as path:
                    _open_page(self.source, self.options, page, directory).write_as(
                        path, target, bigtiff=self.bigtiff, progress=part
                    )
                    pointer = tiff_pages.append(
                        file, path, pointer, number=number, count=len(self.pages)
                    )
                done += pixels


def open_file(source: Path, options: Options) -> PhotoEnlargement | PagesEnlargement:
    """Open a photograph and find out what is to become of it: see ``upres.formats``."""
    photo = open_photo(source, keep_cmyk=options.cmyk)
    pages = tiff_pages.full_pages(source) if photo.pages > 1 else {}
    if list(pages) in ([], [0]):
        return _planned(photo, options)
    if len(pages) == 1:
        [(page, directory)] = pages.items()
        return _open_page(source, options, page, directory)
    # Not all are kept open, as there may be more of them than files can be.
    sizes, parts, content, disk = [], [], 0, 0
    for page, directory in pages.items():
        job = _open_page(source, options, page, directory)
        sizes.append((job.width, job.height))
        parts.append(job.estimate.pixels)
        content += job.content_bytes
        disk = max(disk, job.estimate.disk_bytes)
    width, height = max(sizes, key=math.prod)
    _check_pixels(source, width, height, len(pages), sum(parts), options)
    estimate = Estimate(width, height, len(pages), sum(parts), disk + content)
    return PagesEnlargement(source, options, pages, estimate, parts, needs_bigtiff(content))


def _open_page(source: Path, options: Options, page: int, directory: int) -> PhotoEnlargement:
    try:
        photo = open_photo(source, keep_cmyk=options.cmyk, directory=directory)
        return _planned(photo, options)
    except InputError as error:
        raise InputError(f"{error} (page {page + 1})") from None


def _planned(photo: Photo, options: Options) -> PhotoEnlargement:
    height, width = photo.height, photo.width
    try:
        rows, columns, factor = output_size(
            options, height, width, default_scale=options.default_scale
        )
    except InputError as error:
        raise InputError(f"{photo.path}: {error}") from None
    count = photo.frames
    _check_pixels(photo.path, columns, rows, count, count * rows * columns, options)
    models, why = choose_models(options, factor, photo.jpeg_quality)
    return PhotoEnlargement(photo, options, models, why, rows, columns)


def _check_pixels(
    path: Path, width: int, height: int, count: int, pixels: int, options: Options
) -> None:
    if pixels > options.max_pixels:
        several = f" times {count}" if count > 1 else ""
        raise InputError(
            f"{path}: would become {width}x{height} pixels{several}, more than the "
            f"{options.max_pixels:,} pixels that are allowed: raise --max-pixels, if it is to be"
        )


def _enlarge_frame(
    photo: Photo,
    job: PhotoEnlargement,
    blocks: Iterator[NDArray[Any]],
    target: Path,
    store: Callable[[int, int, Float32Array], None],
    progress: Progress | None,
) -> None:
    """Enlarge one frame by one model after another, and give ``store`` the last one's windows."""
    height, width = photo.height, photo.width
    with ExitStack() as stack:
        if photo.orientation != 1:
            shape = (*photo.stored_size, photo.channels)
            spool = stack.enter_context(Spool(temporary_name(target, ".raw"), shape, photo.dtype))
            _fill(spool, blocks)
            blocks = spool.blocks(photo.orientation)
        rows: Iterator[Float32Array] = map(photo.to_float, blocks)
        # What a model costs goes by the pixels that it is given.
        costs = np.cumprod([1, *(model.card.scale**2 for model in job.models[:-1])])
        shares = costs / costs.sum()
        for number, model in enumerate(job.models):
            done, share = float(shares[:number].sum()), float(shares[number])
            last = number == len(job.models) - 1
            if last:
                shape = (job.height, job.width, photo.channels)
            else:
                shape = (height * model.card.scale, width * model.card.scale, photo.channels)
                spool = Spool(temporary_name(target, ".raw"), shape, np.dtype(np.float32))
                stack.enter_context(spool)
            for top, left, block in enlarge_windows(
                rows,
                height=height,
                width=width,
                model=model,
                alpha=photo.alpha,
                size=shape[:2],
                progress=partial(_share, progress, done, share) if progress else None,
            ):
                (store if last else spool.write)(top, left, block)
                del block  # its memory is for the next one
            if not last:
                height, width = shape[:2]
                rows = spool.blocks()


def _fill(spool: Spool, blocks: Iterable[NDArray[Any]]) -> None:
    top = 0
    for block in blocks:
        spool.write(top, 0, block)
        top += len(block)


def _share(progress: Progress, done: float, share: float, part: float) -> None:
    progress(done + share * part)


def _check_disk(target: Path, needed: int) -> None:
    try:
        free = shutil.disk_usage(target.parent).free
    except OSError as error:
        raise OutputError(f"{target}: cannot write here: {error.strerror}") from None
    if free < needed:
        raise OutputError(
            f"{target}: making this takes {needed:,} bytes of disk, and {free:,} are free: "
            "make room, or write to another disk with --output"
        ) from full_disk(target.parent)
