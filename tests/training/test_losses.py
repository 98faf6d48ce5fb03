from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from upres.raster import metrics
from upres.training.losses import LOSSES, LossName, mixture

ESTIMATE = torch.tensor([[[[0.0, 0.5], [1.0, 0.25]]]])
TARGET = torch.tensor([[[[0.0, 0.25], [0.5, 0.75]]]])  # errors 0, 1/4, 1/2 and -1/2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mse", (1 / 16 + 1 / 4 + 1 / 4) / 4),
        ("l1", 1.25 / 4),
        ("charbonnier", (1e-3 + math.sqrt(1 / 16 + 1e-6) + 2 * math.sqrt(1 / 4 + 1e-6)) / 4),
        # Their sums and differences, halved: 1/8, 3/8, 1/8 and -5/8; imaginary parts are 0.
        ("fft", (1 / 8 + 3 / 8 + 1 / 8 + 5 / 8) / 8),
    ],
)
def test_losses_by_hand(name: LossName, expected: float) -> None:
    assert LOSSES[name](ESTIMATE, TARGET).item() == pytest.approx(expected, rel=1e-6)


def test_luma_is_what_psnr_is_taken_of() -> None:
    random = np.random.default_rng(0)
    a, b = random.integers(0, 256, (2, 2, 5, 6, 3), np.uint8)
    errors = [
        metrics.studio_luma(x).astype(float) - metrics.studio_luma(y)
        for x, y in zip(a, b, strict=True)
    ]
    ours = [torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255 for x in (a, b)]
    # MATLAB's luma has 219 steps from black to white.
    expected = np.abs(errors).mean() / 219
    assert LOSSES["luma"](*ours).item() == pytest.approx(expected, rel=1e-4)
    roots = [np.sqrt((error**2).mean()) for error in errors]
    assert LOSSES["luma_rmse"](*ours).item() == pytest.approx(np.mean(roots) / 219, rel=1e-4)
    with pytest.raises(ValueError, match="1 or 3 channels, not 2"):
        LOSSES["luma"](ESTIMATE.expand(-1, 2, -1, -1), TARGET)
    # Of one channel, it is luma already.
    assert LOSSES["luma"](ESTIMATE, TARGET) == LOSSES["l1"](ESTIMATE, TARGET)


def test_fft_is_the_spectrum_s_error() -> None:
    random = np.random.default_rng(0)
    a, b = random.random((2, 2, 3, 6, 9))
    spectra = [np.fft.rfft2(x, norm="ortho") for x in (a, b)]
    error = spectra[0] - spectra[1]
    expected = np.concatenate([np.abs(error.real), np.abs(error.imag)]).mean()
    got = LOSSES["fft"](torch.from_numpy(a).float(), torch.from_numpy(b).float())
    assert got.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", list(LOSSES))
def test_losses_have_gradients_everywhere_and_stay_in_float32(name: LossName) -> None:
    estimate = torch.rand(1, 3, 8, 8).bfloat16().requires_grad_()
    target = estimate.detach().float().clone()
    target[:, 0] += 0.125
    with torch.autocast("cpu", torch.bfloat16):
        loss = LOSSES[name](estimate, target)
    assert loss.dtype == torch.float32
    loss.backward()
    assert estimate.grad is not None
    assert estimate.grad.isfinite().all()
    assert estimate.grad.any()


def test_mixtures_are_weighted_sums() -> None:
    mixed = mixture({"l1": 2.0, "mse": 0.5})
    expected = 2 * 1.25 / 4 + 0.5 * (1 / 16 + 1 / 4 + 1 / 4) / 4
    assert mixed(ESTIMATE, TARGET).item() == pytest.approx(expected, rel=1e-6)
    alone = mixture({"charbonnier": 1.0})(ESTIMATE, TARGET)
    assert torch.equal(alone, LOSSES["charbonnier"](ESTIMATE, TARGET))
    with pytest.raises(ValueError, match="at least one loss"):
        mixture({})
