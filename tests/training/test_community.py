from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upres.engine.backends import default_backend
from upres.enlarging.api import enlarge
from upres.errors import MissingExtraError, ModelError, TrainingError
from upres.models import open_model, read_model
from upres.training.community import receptive_field
from upres.training.export import to_onnx
from upres.training.networks import (
    EdsrConfig,
    NetworkConfig,
    PlainConfig,
    PooledConfig,
    RcanConfig,
    SrresnetConfig,
    build,
)


class Compact(nn.Module):
    """Real-ESRGAN's compact network (SRVGGNet), written from its description."""

    def __init__(self, scale: int, channels: int = 3) -> None:
        super().__init__()
        self.scale = scale
        self.body = nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1),
            nn.PReLU(8),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.PReLU(8),
            nn.Conv2d(8, channels * scale**2, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        residual = F.pixel_shuffle(self.body(x), self.scale)
        return residual + F.interpolate(x, scale_factor=self.scale, mode="nearest")


def compact(scale: int, channels: int = 3) -> Compact:
    torch.manual_seed(11)
    return Compact(scale, channels).eval()


class Dense(nn.Module):
    """ESRGAN's dense block: the names of its weights are what matters here."""

    def __init__(self, features: int = 8, growth: int = 32) -> None:
        super().__init__()
        for i in range(4):
            convolution = nn.Conv2d(features + i * growth, growth, 3, padding=1)
            setattr(self, f"conv{i + 1}", convolution)
        self.conv5 = nn.Conv2d(features + 4 * growth, features, 3, padding=1)


def esrgan_weights() -> dict[str, Tensor]:
    """Of an x4 network with one block, by the names that Real-ESRGAN gives them."""
    torch.manual_seed(12)
    layers = nn.ModuleDict({"conv_first": nn.Conv2d(3, 8, 3), "conv_last": nn.Conv2d(8, 3, 3)})
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        layers[name] = nn.Conv2d(8, 8, 3)
    block = nn.ModuleDict({f"rdb{i}": Dense() for i in (1, 2, 3)})
    return dict(layers.state_dict()) | {f"body.0.{k}": w for k, w in block.state_dict().items()}


def complaint(source: Path, scale: int | None = None) -> str:
    """The one line, of a ``ModelError``, that naming the file ends in; nothing is written."""
    before = sorted(os.listdir(source.parent))
    with pytest.raises(ModelError) as caught:
        to_onnx(source, scale=scale)
    message = str(caught.value)
    assert message.startswith(str(source))
    assert "\n" not in message
    assert sorted(os.listdir(source.parent)) == before
    return message


def test_a_community_checkpoint_becomes_a_model(spandrel: Any, tmp_path: Path) -> None:
    source = tmp_path / "realesr-tiny.pth"
    network = compact(2)
    torch.save({"params_ema": network.state_dict()}, source)
    path, card = to_onnx(source, scale=2)
    assert path == tmp_path / "realesr-tiny.onnx"
    assert read_model(path).card == card
    assert (card.name, card.scale, card.halo) == ("realesr-tiny", 2, 3)
    assert card.network == "RealESRGAN Compact"
    assert card.parameter_count == sum(p.numel() for p in network.parameters())
    assert card.degradation == "unknown"
    assert card.data == "unknown: converted from realesr-tiny.pth"

    picture = np.random.default_rng(0).random((21, 34, 3), np.float32)
    got = enlarge(picture, model=open_model(path), value_range=(0, 1))
    with torch.no_grad():
        expected = network(torch.from_numpy(picture).permute(2, 0, 1)[None])[0]
    clipped = expected.clamp(0, 1).permute(1, 2, 0).numpy()
    # Near the picture's border results are held to the input.
    np.testing.assert_allclose(got[16:-16, 16:-16], clipped[16:-16, 16:-16], atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        PlainConfig(features=8, blocks=2),
        PooledConfig(features=4, blocks=2),
        SrresnetConfig(features=8, blocks=1),
        EdsrConfig(features=8, blocks=30),
        RcanConfig(features=8, groups=2, blocks=2, reduction=2),
    ],
    ids=lambda config: config.name,
)
def test_the_receptive_field_is_measured(config: NetworkConfig) -> None:
    torch.manual_seed(4)
    network = build(config, 3).eval()
    for parameter in network.parameters():
        if not parameter.any():  # as at the start of training
            nn.init.normal_(parameter, std=0.1)
    got = receptive_field(network, scale=3, multiple_of=network.multiple_of)
    assert got == network.halo


def test_branches_that_are_one_convolution_are_merged(spandrel: Any, tmp_path: Path) -> None:
    """As SPAN has them: torch's exporter ended the process."""
    from spandrel.architectures.SPAN import SPAN

    torch.manual_seed(5)
    network = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2).eval()
    torch.save(network.state_dict(), tmp_path / "span.pth")
    path, card = to_onnx(tmp_path / "span.pth")
    assert (card.network, card.scale) == ("SPAN", 2)
    picture = torch.rand(1, 3, 40, 36, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(picture).numpy()
    got = default_backend("cpu").open(read_model(path)).compile(40, 36)(picture.numpy())
    np.testing.assert_allclose(got, expected, atol=1e-4)
    # 3x3 convolutions alone, and their biases.
    assert card.parameter_count is not None
    assert card.parameter_count < sum(p.numel() for p in network.parameters()) / 2


def test_other_architectures_and_files(spandrel: Any, tmp_path: Path) -> None:
    source = tmp_path / "esrgan.safetensors"
    # In half precision, as many are published; the model file is in float32.
    halved = {name: w.half() for name, w in esrgan_weights().items()}
    safetensors.torch.save_file(halved, source)
    path, card = to_onnx(source, tmp_path / "large.onnx")
    assert (card.network, card.scale, card.name) == ("ESRGAN", 4, "esrgan")
    # Convolutions one after the other: first, 3 x 5, body, then at x2, x4, x4 and x4.
    assert card.halo == 1 + 15 + 1 + 2
    assert read_model(path).card == card


def test_a_wrong_scale_and_networks_that_do_not_enlarge_rgb(spandrel: Any, tmp_path: Path) -> None:
    source = tmp_path / "other.pth"
    torch.save(compact(2).state_dict(), source)
    assert "enlarges 2 times, not 4 times" in complaint(source, scale=4)
    torch.save(compact(2, channels=1).state_dict(), source)
    assert "1 channels in" in complaint(source)
    torch.save(compact(1).state_dict(), source)
    assert "for Restoration" in complaint(source)


def test_files_that_are_no_known_network(spandrel: Any, tmp_path: Path) -> None:
    source = tmp_path / "other.pth"
    torch.save({"layer.weight": torch.ones(3)}, source)
    assert "not a network of an architecture that spandrel" in complaint(source)
    # Looks like one, and is none.
    torch.save({"body.0.weight": torch.ones(3), "body.1.weight": torch.ones(3)}, source)
    assert "not a network of an architecture that spandrel" in complaint(source)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_files_that_hold_no_weights(tmp_path: Path, suffix: str) -> None:
    assert "cannot read this checkpoint" in complaint(tmp_path / f"none{suffix}")
    source = tmp_path / f"rubbish{suffix}"
    source.write_bytes(b"rubbish" * 9)
    assert "not a " in complaint(source)
    source.write_bytes(b"")
    assert "not a " in complaint(source)
    if suffix != ".safetensors":
        torch.save([torch.ones(3)], source)
        assert "holds no weights by name" in complaint(source)
    source.unlink()
    source.mkdir()
    assert complaint(source).endswith(os.strerror(errno.EISDIR))


class Bomb:
    """Runs a function of another module when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_not_run(tmp_path: Path, suffix: str, zipped: bool) -> None:
    victim = tmp_path / "ran"
    source = tmp_path / f"malicious{suffix}"
    weights = {**compact(2).state_dict(), "bomb": Bomb(victim)}
    torch.save(weights, source, _use_new_zipfile_serialization=zipped)
    assert "code in it, which upres does not run" in complaint(source)
    assert not victim.exists()
    source.write_bytes(pickle.dumps(Bomb(victim)))
    complaint(source)
    assert not victim.exists()
    pickle.loads(source.read_bytes())
    assert victim.exists(), "else this test sees nothing"


def test_programs_of_torchscript_are_not_run(tmp_path: Path) -> None:
    source = tmp_path / "script.pt"
    # Archives of TorchScript are told by their first entry; spandrel would run what they hold.
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("script/constants.pkl", pickle.dumps(()))
        archive.writestr("script/data.pkl", pickle.dumps({}))
        archive.writestr("script/version", "3")
    assert "not a checkpoint of weights alone" in complaint(source)


def test_spandrel_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "compact.pth"
    torch.save(compact(2).state_dict(), source)
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(MissingExtraError, match=r"community checkpoints.*'upres\[community\]'"):
        to_onnx(source)
    # As an import of torchvision fails that was made for another torch.
    broken = tmp_path / "broken" / "spandrel.py"
    broken.parent.mkdir()
    broken.write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.delitem(sys.modules, "spandrel")
    monkeypatch.syspath_prepend(broken.parent)
    with pytest.raises(TrainingError, match="nms does not exist: install the torchvision"):
        to_onnx(source)


def test_the_command_complains_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.pth").write_text("no weights")
    command = [sys.executable, "-m", "upres", "export", "notes.pth", "--scale", "4"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("upres: notes.pth: not a checkpoint of weights alone")
    assert os.listdir(tmp_path) == ["notes.pth"]
