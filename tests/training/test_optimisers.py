from __future__ import annotations

import pytest
import torch

from upres.training.config import OptimiserConfig
from upres.training.networks import Network
from upres.training.optimisers import Muon, build_optimisers, learning_rate, orthogonalise


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (16, 16)])
def test_orthogonalising_keeps_directions_and_evens_their_strengths(
    shape: tuple[int, int],
    bfloat16: bool,
) -> None:
    torch.manual_seed(1)
    u, _, v = torch.linalg.svd(torch.randn(2, *shape), full_matrices=False)
    strengths = torch.logspace(0, -1.5, min(shape))
    result = orthogonalise(u * strengths @ v, bfloat16=bfloat16)
    # In the basis of the matrix's own singular vectors: diagonal, and nearly even.
    inner = u.mT @ result @ v.mT
    diagonal = inner.diagonal(dim1=1, dim2=2)
    assert diagonal.min() > 0.65
    assert diagonal.max() < 1.25
    # bfloat16 has 8 bits, and the iteration goes through four products, five times.
    atol = 0.05 if bfloat16 else 1e-4
    torch.testing.assert_close(inner, torch.diag_embed(diagonal), atol=atol, rtol=0)


def test_muon_steps_as_its_sources_say() -> None:
    torch.manual_seed(2)
    kernel = torch.nn.Parameter(torch.zeros(4, 3, 3, 3))
    muon = Muon([kernel], lr=0.1, bfloat16=False)
    average = torch.zeros(4, 27)
    for _ in range(3):
        before = kernel.detach().clone()
        gradient = torch.randn(4, 27)
        kernel.grad = gradient.view(4, 3, 3, 3).clone()
        muon.step()
        average = 0.95 * average + 0.05 * gradient
        # The iteration is of matrices, and here of singular values, one by one.
        u, s, v = torch.linalg.svd(0.95 * average + 0.05 * gradient, full_matrices=False)
        s = s / s.norm()
        for _ in range(5):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        expected = before - 0.1 * 0.2 * 27**0.5 * (u * s @ v).view(4, 3, 3, 3)
        torch.testing.assert_close(kernel.detach(), expected, atol=1e-5, rtol=0)


def test_muon_takes_hidden_kernels_and_adam_all_else(random_network: Network) -> None:
    muon, adam = build_optimisers(random_network, OptimiserConfig(steps=1, name="muon"))
    kernels = {id(p) for n, p in random_network.named_parameters() if "body" in n and p.ndim == 4}
    assert len(kernels) == 4
    assert {id(p) for group in muon.param_groups for p in group["params"]} == kernels
    everything = {id(p) for p in random_network.parameters()}
    rest = {id(p) for group in adam.param_groups for p in group["params"]}
    assert rest == everything - kernels


def test_adamw_decays_weights(random_network: Network) -> None:
    config = OptimiserConfig(steps=1, name="adamw", weight_decay=0.1)
    (adamw,) = build_optimisers(random_network, config)
    assert isinstance(adamw, torch.optim.AdamW)
    assert adamw.param_groups[0]["weight_decay"] == 0.1


def test_cosine_rises_by_a_line_and_falls_by_half_a_cosine() -> None:
    config = OptimiserConfig(steps=110, learning_rate=2.0, final_learning_rate=1.0, warmup=10)
    rates = [learning_rate(config, step) for step in range(110)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == 2.0
    assert rates[60] == pytest.approx(1.5)
    assert rates[-1] == pytest.approx(1.0, abs=1e-3)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_one_cycle_is_torchs() -> None:
    config = OptimiserConfig(
        steps=101, learning_rate=1.0, final_learning_rate=1e-5, warmup=30, schedule="one_cycle"
    )
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=1.0,
        total_steps=102,  # it reaches the final rate at the last step, not after it
        pct_start=31 / 102,
        div_factor=25,
        final_div_factor=1e5 / 25,
        cycle_momentum=False,
    )
    for step in range(100):
        expected = optimiser.param_groups[0]["lr"]
        assert learning_rate(config, step) == pytest.approx(expected, rel=1e-6), step
        optimiser.step()
        scheduler.step()


def test_steps_decay_at_milestones() -> None:
    config = OptimiserConfig(
        steps=100, learning_rate=1.0, schedule="step", milestones=[50, 80], decay=0.1, warmup=4
    )
    rates = [learning_rate(config, step) for step in (0, 3, 4, 49, 50, 79, 80, 99)]
    assert rates == pytest.approx([0.25, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
