from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import pyvips
import torch
from numpy.typing import NDArray

from upres.formats.image.vips import read_rgb8
from upres.raster.resize import bicubic
from upres.training import degradations
from upres.training.degradations import Strengths, compressed, gaussian_blur, web_degraded
from upres.training.jpeg import jpeg


def texture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed).random((height // 4 + 1, width // 4 + 1, 3))
    return (bicubic(random, size=(height, width)).clip(0, 1) * 255).astype(np.uint8)


def tensor(*images: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def psnr(a: Any, b: Any) -> float:
    return float(-10 * np.log10(np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2)))


# JPEG


@pytest.mark.parametrize("subsample", [False, True])
@pytest.mark.parametrize("quality", [10, 30, 50, 75, 95])
def test_jpeg_is_libjpeg_s(quality: int, subsample: bool, picture: NDArray[np.uint8]) -> None:
    mode = "on" if subsample else "off"
    for image in (texture(117, 155, 0), picture):  # neither is a multiple of a block
        file = pyvips.Image.new_from_array(image).jpegsave_buffer(Q=quality, subsample_mode=mode)
        expected = read_rgb8(file).astype(float)
        result = jpeg(tensor(image), torch.tensor([quality]), subsample=subsample)
        got = result[0].permute(1, 2, 0).numpy() * 255
        # libjpeg computes in whole numbers: now and then a value falls to the other side of
        # a rounding, of a pixel by one level, of a coefficient by one step of its table.
        assert np.abs(got - expected).mean() < 1
        assert np.mean(np.abs(got - expected) > 2) < 0.1
        assert psnr(got, image) == pytest.approx(psnr(expected, image), abs=0.3)


def test_jpeg_keeps_each_picture_s_own_quality() -> None:
    images = tensor(texture(40, 24, 1), texture(40, 24, 2))
    both = jpeg(images, torch.tensor([90, 20]), subsample=True)
    for image, quality, got in zip(images, (90, 20), both, strict=True):
        alone = jpeg(image[None], torch.tensor([quality]), subsample=True)[0]
        torch.testing.assert_close(got, alone, atol=1.1 / 255, rtol=0)
    assert psnr(both[0], images[0]) > psnr(both[1], images[1]) + 5


# Blur


def test_blur_is_a_turned_gaussian() -> None:
    impulse = torch.zeros(2, 1, 41, 41)
    impulse[:, :, 20, 20] = 1
    angle = torch.tensor([0.5, 2.0]).view(2, 1, 1, 1)
    along, across = torch.tensor([3.0, 1.6]).view(2, 1, 1, 1), torch.full((2, 1, 1, 1), 2.0)
    got = gaussian_blur(impulse, along, across, angle, 9)
    y, x = np.mgrid[-20:21, -20:21]
    for index in range(2):
        theta, a, b = float(angle[index]), float(along[index]), float(across[index])
        u, v = x * math.cos(theta) + y * math.sin(theta), y * math.cos(theta) - x * math.sin(theta)
        density = np.exp(-(u**2) / (2 * a**2) - v**2 / (2 * b**2)) / (2 * math.pi * a * b)
        np.testing.assert_allclose(got[index, 0], density, atol=1e-5)


def test_blur_of_nothing_and_of_borders() -> None:
    images = torch.rand(2, 3, 5, 8)
    zero, one = torch.zeros(2, 1, 1, 1), torch.ones(2, 1, 1, 1)
    torch.testing.assert_close(gaussian_blur(images, zero, zero, one, 6), images)
    flat = torch.full((2, 3, 5, 8), 0.4)
    torch.testing.assert_close(gaussian_blur(flat, one * 2, one, one, 6), flat)


# Photo


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (24, 17)])
def test_photo_s_shape_and_range(scale: int, size: tuple[int, int]) -> None:
    high = torch.rand(3, 3, size[0] * scale, size[1] * scale)
    for seed in range(6):
        low = web_degraded(high, scale, seeded(seed))
        assert low.shape == (3, 3, *size)
        assert low.dtype == torch.float32
        assert low.min() >= 0
        assert low.max() <= 1
        torch.testing.assert_close(low * 255, (low * 255).round(), atol=1e-4, rtol=0)


def test_photo_depends_on_the_generator_alone() -> None:
    high = tensor(texture(48, 48, 0), texture(48, 48, 1))
    generator = seeded(5)
    first, second = web_degraded(high, 2, generator), web_degraded(high, 2, generator)
    assert torch.equal(first, web_degraded(high, 2, seeded(5)))
    assert not torch.equal(first, second)
    assert not torch.equal(first, web_degraded(high, 2, seeded(6)))
    with pytest.raises(ValueError, match="47x48 pixels are not a multiple"):
        web_degraded(high[:, :, :, 1:], 2, generator)


def test_photo_of_a_part_is_the_part_of_the_whole() -> None:
    high = tensor(*(texture(32, 32, seed) for seed in range(6)))
    for seed in range(8):
        whole = web_degraded(high, 2, seeded(seed))
        for part in range(3):
            got = web_degraded(high[part::3], 2, seeded(seed), part=part, parts=3)
            assert torch.equal(got, whole[part::3])


def test_photo_keeps_the_brightness() -> None:
    for level in (0.25, 0.5, 0.75):
        high = torch.full((16, 3, 32, 32), level)
        means = [web_degraded(high, 2, seeded(seed)).mean() for seed in range(10)]
        assert float(torch.stack(means).mean()) == pytest.approx(level, abs=1 / 255)


def test_photo_takes_its_toll_but_leaves_the_picture(picture: NDArray[np.uint8]) -> None:
    image = picture[:44, :60]
    high = tensor(*[image] * 8)
    plain = bicubic(image, scale=0.5).transpose(2, 0, 1) / 255
    lows = torch.cat([web_degraded(high, 2, seeded(seed)) for seed in range(12)])
    scores = [psnr(low, plain) for low in lows]
    # Photographs of the web have lost 20 to 35 dB; some are nearly as good as new.
    assert 20 < np.mean(scores) < 30
    assert min(scores) > 15
    assert max(scores) > 32


NOISE_ALONE = Strengths(
    blur_probability=0.0,
    jpeg_probability=0.0,
    last_jpeg_probability=0.0,
    resize_factor=1.0,
    noise_probability=1.0,
)


@pytest.mark.parametrize("level", [0.2, 0.7])
def test_noise_is_as_strong_as_it_says(level: float) -> None:
    ten = replace(NOISE_ALONE, noise_sigma=(10 / 255, 10 / 255))
    error = web_degraded(torch.full((16, 3, 64, 64), level), 1, seeded(1), strengths=ten) - level
    # Gaussian noise of 10 levels, Poisson noise of 10 levels at white, rounding of 1/12.
    expected = math.sqrt(10**2 * (1 + level) + 1 / 12)
    assert float(error.std() * 255) == pytest.approx(expected, rel=0.02)
    assert float(error.mean() * 255) == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_noise_is_coloured_or_grey(share: float) -> None:
    strengths = replace(NOISE_ALONE, grey_share=share)
    low = web_degraded(torch.full((8, 3, 64, 64), 0.5), 1, seeded(2), strengths=strengths)
    red, green, _ = low.unbind(1)
    correlation = np.corrcoef(red.flatten(), green.flatten())[0, 1]
    assert correlation == pytest.approx(share, abs=0.03)


def test_strengths_differ_and_leave_some_pictures_out() -> None:
    dice = degradations._Dice(seeded(3), count=4000, part=0, parts=1)
    strengths = dice.strength((2.0, 4.0), probability=0.25).flatten()
    applied = strengths[strengths > 0]
    assert len(applied) / len(strengths) == pytest.approx(0.25, abs=0.03)
    assert applied.min() >= 2
    assert applied.max() < 4
    assert float(applied.mean()) == pytest.approx(3, abs=0.06)


def test_compressed_is_jpeg_of_some_quality(picture: NDArray[np.uint8]) -> None:
    low = torch.from_numpy(picture).permute(2, 0, 1)[None, :, :40, :40].float() / 255
    low = low.expand(6, -1, -1, -1)
    found = []
    for got in compressed(low, seeded(1)):
        fitting = [
            quality
            for quality in range(30, 96)
            for subsample in (False, True)
            if torch.equal(jpeg(low[:1], torch.tensor([quality]), subsample=subsample)[0], got)
        ]
        assert fitting
        found.append(fitting[0])
    assert len(set(found)) > 2


def test_compressed_parts_are_those_of_the_whole() -> None:
    low = torch.rand(6, 3, 24, 24, generator=seeded(0))
    whole = compressed(low, seeded(2))
    for part in range(3):
        assert torch.equal(compressed(low[part::3], seeded(2), part=part, parts=3), whole[part::3])
