"""A run's folder: the recipe as run, the environment, logs, curves and pictures."""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
import tomli_w
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

import upres
from upres.errors import Remedy, TrainingError
from upres.files import replacing
from upres.raster.resize import bicubic
from upres.training.config import Recipe, recipe_values

LOG_COLUMNS = ("step", "learning_rate", "loss", "it_per_s", "valid_psnr", "seconds", "skipped")

_FORMATS = {
    "learning_rate": ".3g",
    "loss": ".6f",
    "it_per_s": ".3f",
    "valid_psnr": ".4f",
    "seconds": ".1f",
}

PICTURES = 4
"""How many validation pictures are shown, each by a part of itself."""

PICTURE_SIDE = 64
"""Side of that part, in low-resolution pixels."""

_ELSEWHERE = Remedy("run", "names another folder")


def model_path(run: Path, recipe: Recipe) -> Path:
    """Where the run's model file will be; its weights are beside it."""
    return run / f"{recipe.name}-x{recipe.scale}.onnx"


def recipe_name(path: Path) -> str:
    """How a model's card names the recipe at ``path``: by that path, if it is below this folder.

    A stage's number is one within its model's folder only, so that a file's name would not do.
    In other places it does, as a card is published, and a machine's folders are not.
    """
    below = not path.is_absolute() and ".." not in path.parts
    return path.as_posix() if below else path.name


def prepare_folder(run: Path, recipe: Recipe, *, resume: bool, needed: int) -> None:
    """Make the run's folder, and find out before training whether it can be written.

    ``needed`` is how many bytes the run will write. Raises ``TrainingError`` if the folder
    cannot be written, has too little room, holds a run that is not to be resumed, or the
    rest of one, or no run that is.
    """
    last = run / "last.pt"
    if resume and not last.is_file():
        raise TrainingError(f"{run}: holds no checkpoint to resume from (last.pt)")
    if not resume and last.exists():
        raise TrainingError(
            f"{run}: holds a run already", Remedy("resume", "goes on with it", True), _ELSEWHERE
        )
    model = model_path(run, recipe)
    files = (run / "recipe.toml", run / "log.csv", run / "best.pt", model)
    taken = [path.name for path in (*files, model.with_suffix(".safetensors")) if path.exists()]
    if not resume and taken:
        raise TrainingError(f"{run}: a run here would overwrite {', '.join(taken)}", _ELSEWHERE)
    try:
        run.mkdir(parents=True, exist_ok=True)
        probe = run / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
        free = shutil.disk_usage(run).free
    except OSError as error:
        raise TrainingError(f"{run}: cannot write a run here: {error.strerror}") from error
    if free < needed:
        raise TrainingError(
            f"{run}: the run needs {needed / 1e6:.0f} MB there, and {free / 1e6:.0f} MB are free",
            _ELSEWHERE,
        )


class Folder:
    """Writes into a run's folder; in processes other than the first, nothing.

    Raises ``TrainingError`` or ``OutputError`` where that cannot be written.
    """

    def __init__(self, run: Path, *, writes: bool) -> None:
        self.run = run
        self.writes = writes
        self.console = Console(stderr=True, quiet=not writes)

    def begin(self, recipe: Recipe, start: int, commit: str | None) -> None:
        """Write the facts of a run that starts at step ``start``, and open its logs.

        Things that may still fail come before: a folder with these files is a run's.
        """
        if not self.writes:
            return
        with replacing(self.run / "recipe.toml") as path:
            path.write_text(tomli_w.dumps(recipe_values(recipe)), "utf-8")
        with replacing(self.run / "environment.json") as path:
            path.write_text(json.dumps(environment(commit), indent=2) + "\n", "utf-8")
        _start_log(self.run / "log.csv", start)
        # Imported late: it takes a second.
        from torch.utils.tensorboard import SummaryWriter

        self.events = SummaryWriter(str(self.run / "tensorboard"), purge_step=start)

    def say(self, text: str) -> None:
        """Print a line, and keep it in ``log.txt``."""
        if not self.writes:
            return
        self.console.print(text, highlight=False, soft_wrap=True)
        with self._writing(), (self.run / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}\n")

    def log(self, values: dict[str, float | None]) -> None:
        """Add a row to ``log.csv`` and points to TensorBoard's curves; None is left out."""
        if not self.writes:
            return
        with self._writing():
            with (self.run / "log.csv").open("a", newline="") as file:
                csv.writer(file).writerow(_format(name, values[name]) for name in LOG_COLUMNS)
            for name, value in values.items():
                if value is not None and name != "step":
                    self.events.add_scalar(name, value, int(values["step"] or 0))
            self.events.flush()

    def show(self, step: int, triples: Sequence[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Write a picture of validation crops: bicubic, the network, the truth.

        ``triples`` hold LR, the network's output and HR, 3 x height x width, uint8.
        """
        if not self.writes or not triples:
            return
        side = min(PICTURE_SIDE, *(length for low, _, _ in triples for length in low.shape[1:]))
        picture = np.concatenate([_strip(*triple, side) for triple in triples])
        path = self.run / "valid" / f"step-{step:07d}.png"
        with self._writing():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(pyvips.Image.new_from_array(picture).pngsave_buffer())
            self.events.add_image("bicubic, network, truth", picture, step, dataformats="HWC")

    def close(self) -> None:
        """End TensorBoard's file."""
        if self.writes:
            with self._writing():
                self.events.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # of a full disk, which names no file
            raise TrainingError(
                f"{self.run}: cannot write the run's logs here: {error.strerror}"
            ) from error


def environment(commit: str | None) -> dict[str, Any]:
    """The run's environment: versions, with the code's own ``commit``, device, command."""
    packages = {d.metadata["Name"]: d.version for d in distributions() if d.metadata["Name"]}
    return {
        "upres": upres.__version__,
        "commit": commit,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "platform": platform.platform(),
        "command": sys.argv,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": dict(sorted(packages.items())),
    }


def device_name(device: torch.device) -> str:
    """A device's name: ``NVIDIA H100``, or ``2 CPU threads``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads"


def commit() -> str | None:
    """The commit of the checkout that this package runs from, if it runs from one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--match="]
    try:
        folder = Path(upres.__file__).parent
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _start_log(path: Path, start: int) -> None:
    """Begin the log, or drop the rows from after the step that is resumed from.

    And one that is not whole, as a full disk may leave it.
    """
    rows: list[list[str]] = []
    if start and path.exists():
        with path.open(newline="") as file:
            whole = [row for row in csv.reader(file) if len(row) == len(LOG_COLUMNS)]
        rows = [row for row in whole if row[0].isdigit() and int(row[0]) <= start]
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file).writerows([LOG_COLUMNS, *rows])


def _format(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return format(value, _FORMATS.get(name, ".0f"))


def _strip(low: Tensor, output: Tensor, high: Tensor, side: int) -> NDArray[np.uint8]:
    """The middle of a picture three times, side by side."""
    scale = high.shape[1] // low.shape[1]
    top, left = ((length - side) // 2 for length in low.shape[1:])
    bottom, right = top + side, left + side
    small = low[:, top:bottom, left:right].permute(1, 2, 0).cpu().numpy()
    inner = np.s_[:, top * scale : bottom * scale, left * scale : right * scale]
    network, truth = (x[inner].permute(1, 2, 0).cpu().numpy() for x in (output, high))
    return np.concatenate([bicubic(small, scale=scale), network, truth], axis=1)
