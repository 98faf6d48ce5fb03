"""The device that trains, and the processes that share the work."""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.strategies.ddp import DDPStrategy

from upres.engine.machine import usable_processors
from upres.training.networks.parts import fast_in_bfloat16


class _Bfloat16(MixedPrecision):
    """Layers compute in bfloat16, as the base class has them do; pictures stay as they are.

    The base class gives the network pictures in bfloat16, too. That has eight binary digits, so the
    brighter half of 256 grey levels becomes 0.25 levels brighter in the mean. A network so trained
    takes this off again, from pictures that nobody made brighter.
    """

    def __init__(self, device: str) -> None:
        super().__init__("bf16-mixed", device)

    def convert_input(self, data: Any) -> Any:
        return data


def start_fabric() -> Fabric:
    """One process on one device, or what torchrun's environment says."""
    # Averaged gradients of features that have died shrink until numbers are denormal, which
    # makes CPUs several times slower. Threads started later do as this one.
    torch.set_flush_denormal(True)
    # torch counts the machine's processors, and not those that a container leaves to it.
    torch.set_num_threads(min(torch.get_num_threads(), usable_processors()))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fabric = Fabric(
        accelerator=device.type,
        devices=local,
        num_nodes=world // local,
        # Statistics of batches are the first process's own: it alone writes them.
        strategy=DDPStrategy(broadcast_buffers=False) if world > 1 else "auto",
        plugins=[_Bfloat16(device.type)] if fast_in_bfloat16(device) else [],
    )
    fabric.launch()
    return fabric


def leave() -> None:
    """End this process at once, with success, if it is one of several that have trained.

    To take down what connects them is what they sometimes fail at: left to Python's end, the
    threads of the connection abort the process about once in six times, and taken down before,
    they may wait for ever for the lock that Python holds meanwhile.
    """
    if torch.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def memory_format(device: torch.device) -> torch.memory_format:
    """In which order the device has the values of a picture."""
    # In float32 on a CPU it was slower (73 against 80 GFLOP/s).
    return torch.channels_last if fast_in_bfloat16(device) else torch.contiguous_format
