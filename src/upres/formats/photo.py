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

from upres.errors import InputError, OutputError
from upres.formats import replacing, temporary_name
from upres.formats.choice import choose_models
from upres.formats.opening import Photo, examined, open_photo
from upres.formats.options import Estimate, Options, output_size
from upres.formats.saving import check_output, sample_type, save
from upres.formats.spool import Spool
from upres.inference import enlarge_windows
from upres.model import Model
from upres.pixels import Float32Array


@dataclass(frozen=True)
class PhotoEnlargement:
    """A photograph that is open, and what is to become of it: see ``upres.formats``."""

    photo: Photo
    options: Options
    models: list[Model]
    why: str
    """The models are these, if the file decided; see ``upres.formats.choice``."""
    height: int
    """Of a page of the result."""
    width: int

    @property
    def estimate(self) -> Estimate:
        """What this will make and need."""
        return Estimate(
            width=self.width,
            height=self.height,
            pages=self.photo.pages,
            pixels=self.photo.pages * self.height * self.width,
            disk_bytes=_disk_bytes(self, self.photo),
        )

    def write(self, target: Path, *, progress: Callable[[float], None] | None = None) -> None:
        """Make the result, and write it to ``target``.

        It is put together in memory or, if it is large, on disk beside ``target``, and then
        encoded.
        """
        photo = self.photo
        # What can be told without decoding, first; whether alpha is opaque cannot.
        header = dataclasses.replace(photo, alpha=False)
        check_output(target, header, height=self.height, width=self.width)
        photo = examined(photo)
        check_output(target, photo, height=self.height, width=self.width)
        _check_disk(target, _disk_bytes(self, photo))
        dtype = sample_type(target, photo)
        shape = (photo.pages * self.height, self.width, photo.channels)
        with (
            replacing(target) as temporary,
            Spool(temporary_name(target, ".raw"), shape, dtype) as result,
        ):
            for page, blocks in enumerate(photo.blocks()):

                def store(
                    top: int, left: int, block: Float32Array, start: int = page * self.height
                ) -> None:
                    result.write(start + top, left, photo.from_float(block, dtype))

                part = partial(_part, progress, page, photo.pages) if progress else None
                _enlarge_page(photo, self, blocks, target, store, part)
            save(result, temporary, photo, self.options, target)


def open_file(source: Path, options: Options) -> PhotoEnlargement:
    """Open a photograph and find out what is to become of it: see ``upres.formats``."""
    photo = open_photo(source, keep_cmyk=options.cmyk)
    height, width = photo.height, photo.width
    try:
        rows, columns, factor = output_size(
            options, height, width, default_scale=options.default_scale
        )
    except InputError as error:
        raise InputError(f"{photo.path}: {error}") from None
    pixels = photo.pages * rows * columns
    if pixels > options.max_pixels:
        several = f" times {photo.pages}" if photo.pages > 1 else ""
        raise InputError(
            f"{photo.path}: would become {columns}x{rows} pixels{several}, more than the "
            f"{options.max_pixels:,} pixels that are allowed: raise --max-pixels, if it is to be"
        )
    models, why = choose_models(options, factor, photo.jpeg_quality)
    return PhotoEnlargement(photo, options, models, why, rows, columns)


def _enlarge_page(
    photo: Photo,
    job: PhotoEnlargement,
    blocks: Iterator[NDArray[Any]],
    target: Path,
    store: Callable[[int, int, Float32Array], None],
    progress: Callable[[float], None] | None,
) -> None:
    """Enlarge one page by one model after another, and give ``store`` the last one's windows."""
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
            if not last:
                height, width = shape[:2]
                rows = spool.blocks()


def _fill(spool: Spool, blocks: Iterable[NDArray[Any]]) -> None:
    top = 0
    for block in blocks:
        spool.write(top, 0, block)
        top += len(block)


def _part(progress: Callable[[float], None], page: int, pages: int, part: float) -> None:
    progress((page + part) / pages)


def _share(progress: Callable[[float], None], done: float, share: float, part: float) -> None:
    progress(done + share * part)


def _disk_bytes(job: PhotoEnlargement, photo: Photo) -> int:
    """The result before it is encoded, the result as a file, and what lies between models."""
    # Encoded, it may be as large; metadata and the like are small beside this.
    samples = job.height * job.width * (photo.channels + photo.opaque_alpha)
    needed = 2 * photo.pages * samples * photo.dtype.itemsize + 2**20
    pixels = photo.height * photo.width * photo.channels
    if photo.orientation != 1:
        needed += pixels * photo.dtype.itemsize
    for count in range(1, len(job.models)):
        needed += 4 * pixels * math.prod(model.card.scale for model in job.models[:count]) ** 2
    return needed


def _check_disk(target: Path, needed: int) -> None:
    try:
        free = shutil.disk_usage(target.parent).free
    except OSError as error:
        raise OutputError(f"{target}: cannot write here: {error.strerror}") from None
    if free < needed:
        raise OutputError(
            f"{target}: making this takes {needed:,} bytes of disk, and {free:,} are free: "
            "make room, or write to another disk with --output"
        )
