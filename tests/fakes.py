"""An engine that is no library, for tests that are not about one: it takes microseconds.

    backend, model = FakeBackend(), fake_model(scale=2, halo=3)
    enlarge_windows(rows, ..., model=model, backend=backend)
    fakes.enlarge_file(source, target, scale=2.5)

Its network looks exactly as far as the card's halo, and every neighbour counts differently: a
halo that is too small shows, and so does a picture that is flipped or turned.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.card import CARD_KEY, Compute, Model, ModelCard
from upres.engine.protocol import Choice, Engine, Limits
from upres.enlarging import api, files
from upres.enlarging.options import Options
from upres.errors import ModelError
from upres.head import HEAD_KEY, HeadCard, head_path
from upres.onnx_files import network_digest
from upres.raster.arrays import ArraySource
from upres.raster.pixels import Float32Array

OWN, UP, DOWN, LEFT, RIGHT = 0.8, 0.1, 0.05, 0.03, 0.02
"""What a pixel of the input and those at the halo's distance count; together one."""


def fake_model(
    name: str = "fake",
    *,
    scale: int = 2,
    halo: int | None = 1,
    path: Path | None = None,
    **card: Any,
) -> Model:
    """A model for ``FakeBackend``, whose file need not exist; ``card`` are its other entries."""
    path = path or Path(f"{name}-x{scale}.onnx")
    return Model(path, ModelCard(name=name, scale=scale, halo=halo, **card))


def write_fake_model(path: Path, **card: Any) -> Model:
    """The same, with a file of its card and a network of nothing: ``open_model`` reads it."""
    card = {"name": path.stem, **card}
    model = fake_model(path=path, **card)
    entry = _field(1, CARD_KEY.encode()) + _field(2, model.card.to_json().encode())
    path.write_bytes(_field(7, b"") + _field(14, entry))
    return model


def write_fake_head(model: Model, **card: Any) -> HeadCard:
    """The file of a head beside a model's, whose card says so; the fake's is always the same.

    A model that has no file gets one, of a network of nothing.
    """
    if not model.path.exists():
        write_fake_model(model.path, **dataclasses.asdict(model.card))
    values: dict[str, Any] = {
        "model": model.card.name,
        "scale": model.card.scale,
        "precision": model.card.precision,
        "network": network_digest(model.path),
        "degradation": "bicubic",
        "level": 0.9,
        "factor": 1.0,
        "pictures": 200,
        "coverage": 0.9,
        "least_coverage": 0.5,
        "least_covered": "a.png",
    }
    head = HeadCard(**values | card)
    entry = _field(1, HEAD_KEY.encode()) + _field(2, head.to_json().encode())
    head_path(model.path).write_bytes(_field(7, b"") + _field(14, entry))
    return head


def enlarged(model: Model, picture: Float32Array) -> Float32Array:
    """What the fake makes of a picture, height x width x channels, as one window of float32."""
    engine = FakeBackend().open(model).compile(*picture.shape[:2])
    return np.moveaxis(engine(np.moveaxis(picture, 2, 0)[None])[0], 0, 2)


def asking(**options: Any) -> Options:
    """Options, for an x2 model of the fake unless they name one."""
    return Options(**{"model": fake_model()} | options)


def open_file(source: Path, *, ripple: float = 0, **options: Any) -> files.FileEnlargement:
    """The library's function of that name, by the fake; ``options`` are those of ``Options``."""
    return files.open_file(source, asking(**options), backend=FakeBackend(ripple=ripple))


def enlarge_file(source: Path, target: Path, **options: Any) -> Sequence[str]:
    """Enlarge a file to another by the fake; ``options`` are those of ``open_file``.

    Returns the names of what the result does not keep.
    """
    return open_file(source, **options).write(target).not_kept


def enlarge_array(
    image: object,
    *,
    bands: Any = None,
    value_range: Any = None,
    progress: Any = None,
    **options: Any,
) -> NDArray[Any]:
    """Enlarge an array by the fake, as ``upres.enlarge`` does by an engine."""
    source = ArraySource(image, bands=bands, value_range=value_range)
    return api.enlarge_array(source, asking(**options), backend=FakeBackend(), progress=progress)


@dataclass
class FakeBackend:
    """A ``Backend``; what it says of itself can be chosen, and what it was asked is kept."""

    window_pixels: int = 512 * 512
    multiples: tuple[int, int] = (1, 1)
    int8: bool = False
    computes: tuple[Compute, ...] = ("fp32",)
    """The first is the best."""
    tint: tuple[float, float, float] = (1, 1, 1)
    """By what its networks multiply red, green and blue."""
    ripple: float = 0
    """By how much the samples differ that its networks make of one: every other is larger."""
    device: str = "cpu"
    name: str = "a fake"
    compiled: list[tuple[Model, int, int]] = field(default_factory=list)
    """Each model that was compiled, and for which height and width."""
    before_window: Callable[[Float32Array], object] = lambda window: None
    """Is called with each window before it is enlarged; it may raise."""

    def open(self, model: Model) -> FakeNetwork:
        if model.compute not in self.computes:
            raise ModelError(f"{model.path}: {self.name} cannot compute in {model.compute}")
        return FakeNetwork(self, model)

    def limits(self, model: Model) -> Limits:
        return Limits(self.window_pixels, self.multiples)

    def choose(self, variants: Sequence[Model]) -> Choice:
        model = variants[-1] if self.int8 else variants[0]
        return Choice(dataclasses.replace(model, compute=self.best_compute(model.card)), "a fake")

    def best_compute(self, card: ModelCard) -> Compute:
        return self.computes[0]

    def can_compute(self, compute: Compute) -> bool:
        return compute in self.computes


@dataclass
class FakeNetwork:
    """A ``OpenedModel``."""

    backend: FakeBackend
    model: Model

    def compile(self, height: int, width: int) -> Engine:
        card, given = self.model.card, (1, self.model.card.channels, height, width)
        if height % card.multiple_of or width % card.multiple_of:
            raise ModelError(f"{self.model.path}: cannot run on {width}x{height} pixels")
        self.backend.compiled.append((self.model, height, width))

        def run(window: Float32Array, /) -> Float32Array:
            assert window.dtype == np.float32
            assert window.shape == given, f"compiled for {given}, not {window.shape}"
            self.backend.before_window(window)
            result = _network(window, card.halo)
            if card.channels == 3:
                result *= np.array(self.backend.tint, np.float32).reshape(3, 1, 1)
            large = result.repeat(card.scale, 2).repeat(card.scale, 3)
            y, x = np.ogrid[: card.scale, : card.scale]
            detail = np.float32(self.backend.ripple) * ((x + y) % 2 - np.float32(0.5))
            large = large + np.tile(detail, result.shape[2:]).astype(np.float32)
            if self.model.head is None:
                return large
            # Half-widths, by which every neighbour counts differently, too.
            widths = np.float32(0.02) + np.float32(0.1) * large.mean(1, keepdims=True)
            return np.concatenate([large, widths], 1)

        return run


def _network(window: Float32Array, halo: int | None) -> Float32Array:
    if halo is None:  # as global pooling is
        result = np.float32(OWN) * window
        result += np.float32(1 - OWN) * window.mean((2, 3), keepdims=True)
        return result
    _, _, height, width = window.shape
    # As convolutions pad: with nothing.
    padded = np.pad(window, ((0, 0), (0, 0), (halo, halo), (halo, halo)))
    rows, columns = slice(halo, halo + height), slice(halo, halo + width)
    result = np.float32(OWN) * window
    result += np.float32(UP) * padded[:, :, :height, columns]
    result += np.float32(DOWN) * padded[:, :, 2 * halo :, columns]
    result += np.float32(LEFT) * padded[:, :, rows, :width]
    result += np.float32(RIGHT) * padded[:, :, rows, 2 * halo :]
    return result


def _field(number: int, content: bytes) -> bytes:
    """A field of a Protocol Buffers message that has a length."""
    length, size = len(content), bytearray()
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([number << 3 | 2, *size, length]) + content
