"""The configs of small networks, one of each kind."""

from __future__ import annotations

from upres.training.networks import (
    EdsrConfig,
    NetworkConfig,
    PlainConfig,
    PooledConfig,
    RcanConfig,
    SrresnetConfig,
)

CONFIGS: list[NetworkConfig] = [
    PlainConfig(features=8, blocks=2),
    PooledConfig(features=4, blocks=2),
    SrresnetConfig(features=8, blocks=1),
    EdsrConfig(features=8, blocks=2),
    RcanConfig(features=8, groups=2, blocks=2, reduction=2),
]
