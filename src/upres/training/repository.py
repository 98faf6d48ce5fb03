"""Repository folders for Hugging Face: a card, and a model's files as programs want them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upres import __version__
from upres.card import ModelCard
from upres.errors import ModelError, OutputError, Remedy, TrainingError, UsageError, needs_extra
from upres.files import make_folder
from upres.models import SHIPPED, read_model
from upres.training.compact import require_compact, to_compact
from upres.training.export import load_network, save_weights
from upres.training.variants import to_portable

SHIPPED_LICENCE = "apache-2.0"
"""Of the shipped models, as Hugging Face spells it."""

TASK = "image-to-image"
"""The name of super-resolution at Hugging Face."""


@dataclass(frozen=True)
class HubFiles:
    """The names of the files that a repository holds of a model of one scale."""

    card: ModelCard
    onnx: str
    weights: str | None
    """Of the network as upres trains it; a quantised model has none."""
    compact: str | None
    """The network as Real-ESRGAN's compact one, where it can be written so."""


def to_hub(sources: Sequence[Path], folder: Path, *, force: bool = False) -> list[HubFiles]:
    """Make a folder that can be uploaded as a repository; return what is in it.

    ``sources`` are model files of upres: of one model, in one or more scales. The folder gets a
    card with scores and data, ``config.json``, and for each scale a model file that any runtime
    takes, its weights, and those of a compact network, where there can be any. ``folder`` is made
    at once and whole; in one that is there, these files are replaced if ``force`` says so.

    Raises ``OutputError`` if ``folder`` is there or cannot be written, ``ModelError`` if a source
    cannot be read or has no card, ``UsageError`` if they are of several models or scales twice,
    ``MissingExtraError`` without Hugging Face's package.
    """
    with needs_extra("a repository for Hugging Face", "hub"):
        import huggingface_hub  # noqa: F401

    cards = [read_model(source).card for source in sources]
    if len({card.name for card in cards}) > 1 or len({card.scale for card in cards}) < len(cards):
        raise UsageError("a repository holds one model, in each scale once")
    if folder.exists() and not force:
        raise OutputError(f"{folder}: exists already", Remedy("force", "replaces it", True))
    make_folder(folder.parent)
    try:
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from None
    try:
        files = [_write(source, made) for source in sources]
        licence = SHIPPED_LICENCE if all(s.parent == SHIPPED for s in sources) else None
        (made / "config.json").write_text(_config(files, made), "utf-8")
        (made / "README.md").write_text(readme(files, licence), "utf-8")
        _require_valid(made / "README.md")
        if not folder.exists():
            made.chmod(0o777 & ~_umask())  # as others are, not as temporary ones
            made.rename(folder)
        else:  # perhaps a clone, whose other files stay
            for file in made.iterdir():
                file.replace(folder / file.name)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return files


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write(source: Path, folder: Path) -> HubFiles:
    card = read_model(source).card
    name = f"{card.name}-x{card.scale}"
    _, portable = to_portable(source, folder / f"{name}.onnx")
    weights = compact = None
    try:
        network, own = load_network(source)
        save_weights(network, own, folder / f"{name}.safetensors")
        weights = f"{name}.safetensors"
    except TrainingError:
        pass  # quantised, or with weights that are no longer told apart
    try:
        require_compact(source, card)
        to_compact(source, folder / f"{name}-compact.safetensors")
        compact = f"{name}-compact.safetensors"
    except ModelError:
        pass
    return HubFiles(portable, f"{name}.onnx", weights, compact)


def _config(files: Sequence[HubFiles], folder: Path) -> str:
    def described(name: str | None) -> dict[str, str] | None:
        if name is None:
            return None
        return {"name": name, "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()}

    models = [
        {
            "scale": each.card.scale,
            "onnx": described(each.onnx),
            "safetensors": described(each.weights),
            "compact": described(each.compact),
            "card": dataclasses.asdict(each.card),
        }
        for each in files
    ]
    content = {
        "model_type": "upres",
        "name": files[0].card.name,
        "upres_version": __version__,
        "models": models,
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def readme(files: Sequence[HubFiles], licence: str | None) -> str:
    """The repository's card: metadata as Hugging Face reads it, and a text."""
    from huggingface_hub import EvalResult, ModelCardData

    name = files[0].card.name
    results = [
        EvalResult(
            task_type=TASK,
            task_name="Super-resolution",
            dataset_type="-".join(re.findall(r"[a-z0-9]+", score.dataset.lower())),
            dataset_name=score.dataset,
            dataset_config=f"x{each.card.scale}",  # else the scales would be told as one
            metric_type=metric,
            metric_name=metric.upper(),
            metric_value=round(value, 4),
        )
        for each in files
        for score in each.card.scores
        for metric, value in (("psnr", score.psnr), ("ssim", score.ssim))
    ]
    optional: dict[str, Any] = {"license": licence} if licence else {}
    if results:
        optional |= {"model_name": name, "eval_results": results, "metrics": ["psnr", "ssim"]}
    data = ModelCardData(
        library_name="upres",
        pipeline_tag=TASK,
        tags=["super-resolution", "image-upscaling", "upres", "onnx"],
        **optional,
    )
    return f"---\n{data.to_yaml()}\n---\n\n{_text(files, licence)}"


def _text(files: Sequence[HubFiles], licence: str | None) -> str:
    first = files[0].card
    scales = ", ".join(f"{each.card.scale}" for each in files)
    lines = [
        f"# {first.name}",
        "",
        f"A residual network that enlarges pictures. Scales: {scales}. "
        f"Trained to undo: {first.degradation}. Precision: {first.precision}.",
        "",
        f"Trained on: {first.data}",
        "",
        f"Licence of these weights: {licence}." if licence else "The licence is not stated.",
        "",
        "## Use",
        "",
        "```",
        "pip install 'upres[hub]'",
        "upres enlarge picture.jpg -m hf://OWNER/NAME",
        "```",
        "",
        "The .onnx files take any batch, height and width: N x 3 x H x W, RGB from "
        f"{first.value_range[0]:g} to {first.value_range[1]:g}, float32. Clip what they give.",
    ]
    if "eight times" in first.network:
        lines.append(
            "The mean over the eight ways to flip and turn a picture is in their graphs: any "
            "runtime gives the same. The .safetensors files hold one network without it."
        )
    if any(each.compact for each in files):
        lines.append(
            "The -compact.safetensors files are the same networks as RealESRGAN Compact "
            "(`SRVGGNetCompact`), for spandrel, chaiNNer and ComfyUI."
        )
    lines += ["", "## Scores", "", "| | pictures | PSNR | SSIM |", "|---|---|---|---|"]
    lines += [
        f"| {score.dataset}, x{each.card.scale} | {score.images} | {score.psnr:.2f} dB | "
        f"{score.ssim:.4f} |"
        for each in files
        for score in each.card.scores
    ]
    lines += ["", f"Protocol: {first.protocol or 'not measured'}", ""]
    return "\n".join(lines)


def _require_valid(path: Path) -> None:
    """Have Hugging Face's package read a card, which raises for metadata that it does not take."""
    from huggingface_hub import ModelCard as HubCard

    try:
        HubCard.load(path, ignore_metadata_errors=False)
    except ValueError as error:
        raise TrainingError(f"{path.name}: not valid as a card: {error}") from error
