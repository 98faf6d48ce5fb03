"""How training pictures lose their resolution: as the web has them, on any device.

The field's own way, bicubic alone, is in ``upres.raster.resize``.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from upres.training.jpeg import jpeg

DegradationName = Literal["bicubic", "jpeg", "photo"]
"""The makers of low-resolution pictures: the field's filter, the same and then JPEG compression, or
all that befalls pictures on their way to the web."""


@dataclass(frozen=True)
class Strengths:
    """How often and how strongly each stage of ``web_degraded`` acts.

    The defaults are for pictures as the web has them, not for wrecks.
    """

    blur_probability: float = 0.5
    blur_sigma: tuple[float, float] = (0.2, 2.0)
    """In low-resolution pixels, along each axis of the kernel."""
    round_share: float = 0.5
    """Of the blurs, those that are the same in all directions."""
    resize_factor: float = 0.75
    """The smallest size on the way, as a share of the low-resolution size."""
    noise_probability: float = 0.5
    """Of Gaussian noise, and again of Poisson noise."""
    noise_sigma: tuple[float, float] = (1 / 255, 15 / 255)
    """Of Gaussian noise; and of Poisson noise, where the picture is white."""
    grey_share: float = 0.4
    """Of the noises, those that are the same in red, green and blue."""
    jpeg_probability: float = 0.3
    last_jpeg_probability: float = 0.8
    jpeg_quality: tuple[int, int] = (30, 95)


WEB = Strengths()


def web_degraded(
    high: Tensor,
    scale: int,
    generator: torch.Generator,
    *,
    part: int = 0,
    parts: int = 1,
    strengths: Strengths = WEB,
) -> Tensor:
    """Low-resolution pictures as the web has them, of ``high`` (N x 3 x H x W in [0, 1]).

    Blur, a resize, Gaussian noise, Poisson noise and JPEG compression in random order;
    then the resize to H / scale x W / scale, and usually JPEG again. They act
    as ``strengths`` says. How strongly differs from picture to picture; the
    order, the sizes on the way, the filters and JPEG's chroma are drawn once a batch, so
    that all its pictures go through together. Returns float32 in [0, 1], at whole bytes.

    All chance comes from ``generator``, which must be on ``high``'s device. With ``parts``,
    ``high`` is rows ``part::parts`` of a batch that several processes share, and gets the
    strengths and noise that are these rows' in it. Nothing waits for the device.

    Sources: Zhang et al., "Designing a practical degradation model for deep blind image
    super-resolution", ICCV 2021 (the shuffled order); Wang et al., "Real-ESRGAN", ICCVW
    2021 (the resize on the way, grey and Poisson noise). One pass, not Real-ESRGAN's two.

    Raises ``ValueError`` if height or width is not a multiple of ``scale``.
    """
    height, width = high.shape[-2:]
    if height % scale or width % scale:
        raise ValueError(f"{width}x{height} pixels are not a multiple of the scale, {scale}")
    final = (height // scale, width // scale)
    dice = _Dice(generator, len(high), part, parts)
    # Values that shapes depend on must be known here, without asking the device. A generator's
    # state is here, and each call changes it.
    host = random.Random(generator.get_state().numpy().tobytes())
    stages = ["blur", "resize", "gaussian", "poisson", "jpeg"]
    host.shuffle(stages)
    images = high
    for stage in stages:
        if stage == "blur":
            images = _random_blur(images, dice, images.shape[-1] / final[1], strengths)
        elif stage == "resize":
            factor = math.exp(host.uniform(math.log(strengths.resize_factor), math.log(scale)))
            size = (max(1, round(final[0] * factor)), max(1, round(final[1] * factor)))
            images = _resize(images, size, host)
        elif stage == "gaussian":
            images = images + _noise(images, dice, strengths)
        elif stage == "poisson":
            # The normal distribution of a count's variance: alike from about ten photons on.
            images = images + images.sqrt() * _noise(images, dice, strengths)
        else:
            images = _random_jpeg(images, dice, strengths.jpeg_probability, host, strengths)
        images = images.clamp(0, 1)
    images = _resize(images, final, host).clamp(0, 1)
    images = _random_jpeg(images, dice, strengths.last_jpeg_probability, host, strengths)
    return (images * 255).round() / 255


def compressed(low: Tensor, generator: torch.Generator, *, part: int = 0, parts: int = 1) -> Tensor:
    """``low`` (N x 3 x H x W in [0, 1]) as they come back from JPEG files.

    The quality is drawn for each picture, and chroma's resolution once a batch. Chance and
    ``parts`` are as for ``web_degraded``.
    """
    dice = _Dice(generator, len(low), part, parts)
    host = random.Random(generator.get_state().numpy().tobytes())
    return _random_jpeg(low, dice, 1.0, host, WEB)


@dataclass(frozen=True)
class _Dice:
    """Random numbers for rows ``part::parts`` of a batch, drawn for all of its rows."""

    generator: torch.Generator
    count: int
    part: int
    parts: int

    def uniform(self) -> Tensor:
        """N x 1 x 1 x 1, in [0, 1)."""
        shape = (self.count * self.parts, 1, 1, 1)
        values = torch.rand(shape, generator=self.generator, device=self.generator.device)
        return values[self.part :: self.parts]

    def strength(self, limits: tuple[float, float], probability: float) -> Tensor:
        """N x 1 x 1 x 1, within ``limits``, or zero where the stage is left out."""
        low, high = limits
        return (low + (high - low) * self.uniform()) * (self.uniform() < probability)

    def noise(self, images: Tensor, grey_share: float) -> Tensor:
        """Of the shape of ``images``, with standard deviation 1, grey or coloured."""
        shape = (self.count * self.parts, *images.shape[1:])
        normal = torch.randn(shape, generator=self.generator, device=self.generator.device)
        normal = normal[self.part :: self.parts]
        return torch.where(self.uniform() < grey_share, normal[:, :1], normal)


def _noise(images: Tensor, dice: _Dice, strengths: Strengths) -> Tensor:
    sigma = dice.strength(strengths.noise_sigma, strengths.noise_probability)
    return sigma * dice.noise(images, strengths.grey_share)


def _random_blur(images: Tensor, dice: _Dice, pixel: float, strengths: Strengths) -> Tensor:
    # ``pixel`` is a low-resolution pixel's width, as sigmas are in these.
    along = dice.strength(strengths.blur_sigma, strengths.blur_probability)
    across = dice.strength(strengths.blur_sigma, 1.0) * (along > 0)
    across = torch.where(dice.uniform() < strengths.round_share, along, across)
    reach = math.ceil(3 * strengths.blur_sigma[1] * pixel)
    return gaussian_blur(images, along * pixel, across * pixel, dice.uniform() * math.pi, reach)


def gaussian_blur(
    images: Tensor, along: Tensor, across: Tensor, angle: Tensor, reach: int
) -> Tensor:
    """``images`` (N x C x H x W) under Gaussian kernels, each picture under its own.

    ``along`` and ``across`` are the standard deviations, in pixels, along ``angle`` (in
    radians from the horizontal, towards the bottom) and across it, each N x 1 x 1 x 1.
    Borders are extended by their outermost pixels, ``reach`` pixels far.
    """
    # As a product of spectra, where a Gaussian stays one: kernels need no size, and cost none.
    padded = F.pad(images, [reach] * 4, mode="replicate")
    height, width = padded.shape[-2:]
    y = torch.fft.fftfreq(height, device=images.device)[:, None]
    x = torch.fft.rfftfreq(width, device=images.device)
    cosine, sine = angle.cos(), angle.sin()
    squares = (along * (cosine * x + sine * y)) ** 2 + (across * (cosine * y - sine * x)) ** 2
    spectrum = torch.fft.rfft2(padded) * torch.exp(-2 * math.pi**2 * squares)
    blurred: Tensor = torch.fft.irfft2(spectrum, s=(height, width))
    return blurred[:, :, reach : height - reach, reach : width - reach]


def _resize(images: Tensor, size: tuple[int, int], host: random.Random) -> Tensor:
    mode = host.choice(("area", "bilinear", "bicubic"))
    shrinks = size[0] <= images.shape[-2] and size[1] <= images.shape[-1]
    if mode == "area" and not shrinks:
        mode = "bilinear"  # areas say nothing when growing
    resized: Tensor = F.interpolate(images, size, mode=mode, antialias=mode != "area")
    return resized


def _random_jpeg(
    images: Tensor, dice: _Dice, probability: float, host: random.Random, strengths: Strengths
) -> Tensor:
    low, high = strengths.jpeg_quality
    quality = (low + (high + 1 - low) * dice.uniform()).floor().clamp(max=high)
    subsample = host.random() < 0.5
    compressed = jpeg(images, quality.flatten(), subsample=subsample)
    return torch.where(dice.uniform() < probability, compressed, images)
