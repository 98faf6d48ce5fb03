from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from upres.enlarging.tiles import cut
from upres.training.networks import (
    EdsrConfig,
    Network,
    NetworkConfig,
    Plain,
    PlainConfig,
    PooledConfig,
    RcanConfig,
    Srresnet,
    SrresnetConfig,
    build,
    deployed,
    multiply_adds_for_output,
    network_multiply_adds,
    trainable_parameters,
)
from upres.training.networks.plain import BranchedConv2d

TINY: list[NetworkConfig] = [
    PlainConfig(features=8, blocks=2),
    PlainConfig(features=8, blocks=2, branches=True),
    PlainConfig(features=8, blocks=2, closing=True),
    PooledConfig(features=4, blocks=2),
    SrresnetConfig(features=8, blocks=1),
    EdsrConfig(features=8, blocks=2, residual_scaling=0.5),
    RcanConfig(features=8, groups=2, blocks=1, reduction=2),
]
LOCAL = [config for config in TINY if not isinstance(config, RcanConfig)]


def label(config: NetworkConfig) -> str:
    options = [name for name in ("branches", "closing") if getattr(config, name, False)]
    return "-".join([config.name, *options])


each = pytest.mark.parametrize("config", TINY, ids=label)
each_local = pytest.mark.parametrize("config", LOCAL, ids=label)
each_scale = pytest.mark.parametrize("scale", [2, 3, 4])


def random(config: NetworkConfig, scale: int, seed: int = 0) -> Network:
    """A network whose every weight matters, in evaluation mode."""
    torch.manual_seed(seed)
    network = build(config, scale).eval()
    for parameter in network.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
        torch.nn.init.normal_(parameter, std=fan_in**-0.5)
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            torch.nn.init.uniform_(buffer, 0.5, 1.5)
    return network


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


@each
@each_scale
def test_outputs_are_pictures_scale_times_as_large(config: NetworkConfig, scale: int) -> None:
    network = build(config, scale)
    assert (network.scale, network.channels) == (scale, 3)
    x = torch.rand(2, 3, 12, 16)
    assert network(x).shape == (2, 3, 12 * scale, 16 * scale)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(x)
    assert output.dtype == torch.float32
    assert (output != output.bfloat16()).any(), "the last convolution is not done in bfloat16"


@each
def test_what_depends_on_the_scale_is_the_tail(config: NetworkConfig) -> None:
    shapes = [
        {name: w.shape for name, w in build(config, scale).state_dict().items()}
        for scale in (2, 3, 4)
    ]
    bodies = [{n: s for n, s in each.items() if not n.startswith("tail.")} for each in shapes]
    assert bodies[0] == bodies[1] == bodies[2]
    assert any(name.startswith("tail.") for name in shapes[0])


# The receptive field


def reach(network: Network, x: Tensor) -> int:
    """How far beyond its own block of ``multiple_of`` pixels the middle's output sees."""
    multiple = network.multiple_of
    first = x.shape[3] // multiple // 2 * multiple
    block = slice(first * network.scale, (first + multiple) * network.scale)
    x = x.clone().requires_grad_()
    network(x)[0, :, :, block].sum().backward()
    assert x.grad is not None
    touched = x.grad[0].abs().amax((0, 1)).nonzero()
    return max(first - int(touched.min()), int(touched.max()) - (first + multiple - 1))


@each_local
@each_scale
def test_halo_is_the_receptive_field(config: NetworkConfig, scale: int) -> None:
    network = random(config, scale)
    assert network.halo is not None
    multiple = network.multiple_of
    side = 2 * math.ceil((network.halo + 3) / multiple) * multiple + multiple
    # ReLUs and pooling may shut single paths off, but not all of a random network's, in
    # pictures that are large in the other direction.
    assert max(reach(network, picture(side, side, seed)) for seed in range(3)) == network.halo


def test_the_halo_of_the_articles_own_size() -> None:
    # By hand, from the decoder back: a convolution at 1/8; then at each level a
    # convolution, a pooling that doubles distances, and one more convolution.
    assert build(PooledConfig(), 2).halo == 2 * (2 * (2 * (1 + 1) + 1 + 1) + 1 + 1) + 1 == 29
    assert build(PooledConfig(), 2).multiple_of == 8


@each_local
def test_tiles_with_the_halo_equal_the_whole_and_with_less_do_not(config: NetworkConfig) -> None:
    network = random(config, 2)
    assert network.halo is not None
    multiple = network.multiple_of
    x = picture(16, 96)
    with torch.no_grad():
        whole = network(x)

        def difference(halo: int) -> float:
            parts = []
            for span in cut(96, 4, halo=halo, multiple=multiple):
                keep = slice((span.keep_start - span.start) * 2, (span.keep_stop - span.start) * 2)
                parts.append(network(x[..., span.start : span.stop])[..., keep])
            return float((torch.cat(parts, dim=3) - whole).abs().max())

        assert difference(network.halo) < 1e-5
        assert difference(network.halo // 2) > 1e-4


def test_global_pooling_sees_the_whole_picture() -> None:
    network = random(TINY[-1], 2)
    assert network.halo is None
    x = picture(8, 200)
    changed = x.clone()
    changed[..., 0] = 0
    with torch.no_grad():
        assert ((network(x) - network(changed))[..., -1].abs() > 0).any()


# What was published


@pytest.mark.parametrize(
    ("config", "parameters", "operations"),
    [
        # Lim et al., table 1, and Zhang et al., for x2; operations for 1280x720 as tables
        # of the field have them: 316.3G, 9,387G and 3,529.7G.
        (EdsrConfig(), 1.37e6, 316.3e9),
        (EdsrConfig(features=256, blocks=32, residual_scaling=0.1), 40.7e6, 9387e9),
        (RcanConfig(), 15.4e6, 3529.7e9),
    ],
    ids=["edsr-baseline", "edsr", "rcan"],
)
def test_counts_equal_the_published(
    config: NetworkConfig, parameters: float, operations: float
) -> None:
    with torch.device("meta"):
        network = build(config, 2)
    assert float(f"{trainable_parameters(network):.3g}") == parameters
    assert network_multiply_adds(network, 360, 640) == pytest.approx(operations, rel=2e-4)


def test_counts_by_hand() -> None:
    plain = Plain(scale=2, features=8, blocks=2)
    weights = 27 * 8 + 4 * 72 * 8 + 72 * 12
    assert trainable_parameters(plain) == weights + 8 + 4 * 8 + 12
    repeating = 3 * 12
    assert network_multiply_adds(plain, 10, 20) == 200 * (weights + repeating)
    branched = Plain(scale=2, features=8, blocks=2, branches=True)
    assert network_multiply_adds(branched, 10, 20) == network_multiply_adds(plain, 10, 20)
    assert (
        trainable_parameters(branched)
        > trainable_parameters(plain)
        == trainable_parameters(deployed(branched))
    )
    closing = Plain(scale=2, features=8, blocks=2, closing=True)
    assert trainable_parameters(closing) == trainable_parameters(plain) + 9 * 8 * 8 + 8

    pooled = build(PooledConfig(features=4, blocks=2), 2)
    block1 = [27 * 4 * 64, 36 * 4 * 16, 3 * 4 * 16]  # on 8x8, 4x4 and 4x4 positions
    block2 = [72 * 8 * 16, 72 * 8 * 4, 8 * 8 * 4]
    tail = 9 * 16 * (3 * 8 * 8) * 4
    assert network_multiply_adds(pooled, 8, 8) == sum(block1) + sum(block2) + tail
    # At x3, 1280x720 are 1600 inputs of 8x8, but no whole number of blocks of 4x4 in a row.
    tail = 9 * 16 * (3 * 12 * 12) * 4
    counted = multiply_adds_for_output(build(PooledConfig(features=4, blocks=2), 3))
    assert counted == 1600 * (sum(block1) + sum(block2) + tail)


def test_counting_leaves_the_network_as_it_is() -> None:
    network = Srresnet(scale=2, features=8, blocks=1)
    before = {name: w.clone() for name, w in network.state_dict().items()}
    network_multiply_adds(network, 8, 8)
    assert network.training
    assert all(torch.equal(before[name], w) for name, w in network.state_dict().items())


# Plain


@pytest.mark.parametrize("branches", [False, True])
@each_scale
def test_a_new_plain_network_repeats_pixels(scale: int, branches: bool) -> None:
    x = torch.rand(2, 3, 7, 9)
    expected = x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    with torch.no_grad():
        network = Plain(scale=scale, features=8, blocks=2, branches=branches)
        torch.testing.assert_close(network(x), expected)


def test_the_global_skip_and_the_shortcuts_are_there(random_network: Plain) -> None:
    x = torch.rand(1, 3, 8, 8)
    block = random_network.body[0]
    features = torch.rand(1, 8, 8, 8)
    with torch.no_grad():
        inner = block.conv2(torch.relu(block.conv1(features)))  # type: ignore[operator]
        torch.testing.assert_close(block(features), features + inner)
        residual = random_network.tail(random_network.body(random_network.head(x)))
        repeated = F.interpolate(x, scale_factor=2.0, mode="nearest")
        expected = F.pixel_shuffle(residual, 2) + repeated
        torch.testing.assert_close(random_network(x), expected)


def test_plain_keeps_the_names_of_the_weights_that_are_shipped() -> None:
    names = set(Plain(scale=2, features=8, blocks=1).state_dict())
    layers = ("head", "body.0.conv1", "body.0.conv2", "tail")
    assert names == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}


def test_a_merged_kernel_does_what_its_branches_do_at_borders_too() -> None:
    torch.manual_seed(5)
    layer = BranchedConv2d(6, 5, 3, padding=1)
    x = torch.randn(2, 6, 7, 9)
    with torch.no_grad():
        by_hand = (
            F.conv2d(x, layer.weight, padding=1)
            + F.conv2d(x, layer.point)
            + F.conv2d(F.conv2d(x, layer.expand), layer.gather, padding=1)
        )
        assert layer.bias is not None
        torch.testing.assert_close(layer(x), by_hand + layer.bias[:, None, None])


def test_branches_are_merged_when_deployed() -> None:
    network = random(PlainConfig(features=8, blocks=2, branches=True), 2).train()
    merged = deployed(network)
    assert not merged.training
    assert network.training
    assert set(merged.state_dict()) == set(Plain(scale=2, features=8, blocks=2).state_dict())
    x = picture(11, 13)
    with torch.no_grad():
        torch.testing.assert_close(merged(x), network(x))
    assert not {p.data_ptr() for p in merged.parameters()} & {
        p.data_ptr() for p in network.parameters()
    }


@each
def test_gradients_reach_every_weight(config: NetworkConfig) -> None:
    network = random(config, 2).train()
    network(picture(16, 16)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0 or is_before_a_norm(name), name


def is_before_a_norm(name: str) -> bool:
    """Whether it is a bias that batch normalisation takes away again."""
    return name in ("body.0.conv1.bias", "body.0.conv2.bias", "body.1.bias")


# The others' structures


def test_srresnet_is_as_published() -> None:
    network = random(SrresnetConfig(features=8, blocks=1), 4)
    weights = network.state_dict()

    def conv(x: Tensor, name: str) -> Tensor:
        weight = weights[f"{name}.weight"]
        return F.conv2d(x, weight, weights[f"{name}.bias"], padding=weight.shape[2] // 2)

    def norm(x: Tensor, name: str) -> Tensor:
        w = {key: weights[f"{name}.{key}"][:, None, None] for key in NORM}
        x = (x - w["running_mean"]) / (w["running_var"] + 1e-5).sqrt()
        return x * w["weight"] + w["bias"]

    def prelu(x: Tensor, name: str) -> Tensor:
        return torch.where(x > 0, x, x * weights[f"{name}.weight"])

    x = picture(6, 7)
    head = prelu(conv(x, "head.0"), "head.1")
    inner = prelu(norm(conv(head, "body.0.conv1"), "body.0.bn1"), "body.0.prelu")
    block = head + norm(conv(inner, "body.0.conv2"), "body.0.bn2")
    features = head + norm(conv(block, "body.1"), "body.2")
    for stage in ("0.0", "0.3"):
        features = F.pixel_shuffle(conv(features, f"tail.{stage}"), 2)
        features = prelu(features, f"tail.0.{int(stage[-1]) + 2}")
    with torch.no_grad():
        torch.testing.assert_close(network(x), conv(features, "tail.1"))


NORM = ("running_mean", "running_var", "weight", "bias")


def test_pooled_gives_values_in_range_and_needs_its_multiple() -> None:
    network = random(PooledConfig(features=4, blocks=3), 2)
    with torch.no_grad():
        output = network(4 * picture(16, 24))
    assert output.min() >= 0
    assert output.max() <= 1
    with pytest.raises(RuntimeError):
        network(picture(16, 20))
    # The first block: as the article prints it, the pooled path beside the shortcut.
    block = network.body[0]  # type: ignore[index]
    x = picture(8, 8)
    with torch.no_grad():
        inner = F.max_pool2d(F.relu(block.conv1(x)), 2)
        pooled, shortcut = block(x).chunk(2, dim=1)
        torch.testing.assert_close(pooled, F.relu(block.conv2(inner)))
        torch.testing.assert_close(shortcut, block.shortcut(x))


@pytest.mark.parametrize(
    "config", [config for config in TINY if config.name in ("edsr", "rcan")], ids=label
)
def test_the_mean_is_taken_away_and_added_back(config: NetworkConfig) -> None:
    network = random(config, 2)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.zero_()
        mean = torch.tensor([0.4488, 0.4371, 0.4040])[None, :, None, None]
        torch.testing.assert_close(network(mean.expand(1, 3, 6, 6)), mean.expand(1, 3, 12, 12))


def test_edsr_scales_residuals() -> None:
    network = random(EdsrConfig(features=8, blocks=1, residual_scaling=0.1), 2)
    block = network.body[0]  # type: ignore[index]
    x = torch.randn(1, 8, 5, 5)
    with torch.no_grad():
        inner = block.conv2(F.relu(block.conv1(x)))
        torch.testing.assert_close(block(x), x + 0.1 * inner)


def test_rcan_weighs_channels_by_their_means() -> None:
    network = random(TINY[-1], 2)
    group = network.body[0]  # type: ignore[index]
    block = group[0]
    x = torch.randn(1, 8, 5, 5)
    with torch.no_grad():
        inner = block.conv2(F.relu(block.conv1(x)))
        means = inner.mean((2, 3))
        reduce, expand = block.attention.reduce, block.attention.expand
        between = F.relu(means @ reduce.weight[:, :, 0, 0].T + reduce.bias)
        gates = torch.sigmoid(between @ expand.weight[:, :, 0, 0].T + expand.bias)
        torch.testing.assert_close(block(x), x + inner * gates[:, :, None, None])
        torch.testing.assert_close(group(x), x + group[1](block(x)))


def test_rcan_needs_features_to_reduce() -> None:
    with pytest.raises(ValueError, match="reduction 16 leaves nothing of 8 features"):
        RcanConfig(features=8)
