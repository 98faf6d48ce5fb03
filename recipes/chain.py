"""Prints the commands by which the shipped models come about, as ``chain.toml`` has them.

    python recipes/chain.py                  # of all models
    python recipes/chain.py fast-x3 best-x3  # of these, the stages that they take over included
    python recipes/chain.py fast-x3 --run    # runs them; stages that are there are passed over

The commands are for the root of the repository.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHAIN = Path(__file__).with_name("chain.toml")

LOOK_EVERY = 2.0
"""Seconds between looks at a command that may be enough, and whether it has ended."""


@dataclass(frozen=True)
class Model:
    """A shipped model: the stages that train it, and its differences from the last one."""

    stages: tuple[str, ...]
    """In order; the last one's weights are the model's."""
    self_ensemble: bool = False
    jpeg: str | None = None
    """The quality of the JPEG files on which it is measured; None is clean pictures."""


@dataclass(frozen=True)
class Chain:
    """The content of ``chain.toml``."""

    data: str
    int8_images: str
    sets: tuple[str, ...]
    interrupted: dict[str, int]
    models: dict[str, Model]


@dataclass(frozen=True)
class Step:
    """One command of upres."""

    arguments: tuple[str, ...]
    stage: str | None = None
    """The stage that it trains, if any."""
    until: int | None = None
    """After the validation at that step it is interrupted; None lets it run to its end."""

    def __str__(self) -> str:
        note = f"  # Ctrl-C after the validation at step {self.until:,}" if self.until else ""
        return shlex.join(["upres", *self.arguments]) + note


Perform = Callable[[Sequence[str], Callable[[], bool]], int]
"""Runs upres with arguments until it ends, or until the function says that it is enough.

Returns the exit code, 0 if it was enough."""


def read_chain(path: Path = CHAIN) -> Chain:
    """The file's content; ``TypeError`` names a key that it may not have."""
    values = tomllib.loads(path.read_text("utf-8"))
    models = values.pop("models")
    return Chain(
        **{**values, "sets": tuple(values["sets"])},
        models={
            name: Model(**{**model, "stages": tuple(model["stages"])})
            for name, model in models.items()
        },
    )


def steps(chain: Chain, names: Sequence[str]) -> list[Step]:
    """The commands that make the models of these names; a stage that several have comes once."""
    found = [
        step
        for name in names
        for step in (
            *(_train(chain, stage) for stage in chain.models[name].stages),
            *_finish(chain, name),
        )
    ]
    return list(dict.fromkeys(found))


def trained(stage: str) -> str:
    """The model file that a stage leaves: a stage's folder is called as its model."""
    return f"runs/{stage}/{stage.partition('/')[0]}.onnx"


def _train(chain: Chain, stage: str) -> Step:
    where = ("--data", chain.data, "--output", f"runs/{stage}")
    arguments = ("train", f"recipes/{stage}.toml", *where)
    return Step(arguments, stage, chain.interrupted.get(stage))


def _finish(chain: Chain, name: str) -> Iterator[Step]:
    """From the weights of the last stage to files that are shipped, with their scores."""
    model = chain.models[name]
    source, target = trained(model.stages[-1]), f"src/upres/models/{name}.onnx"
    if model.self_ensemble:
        yield Step(("export", source, "--self-ensemble", "--output", target, "--force"))
        source = target
    yield Step(("export", source, "--half", "--output", target, "--force"))
    yield _measure(chain, name, model.jpeg)
    yield Step(("export", target, "--int8", "--images", chain.int8_images, "--force"))
    kind, _, scale = name.rpartition("-x")
    yield _measure(chain, f"{kind}-int8-x{scale}", model.jpeg)


def _measure(chain: Chain, name: str, jpeg: str | None) -> Step:
    sets = [word for folder in chain.sets for word in ("--data", folder)]
    quality = ["--jpeg", jpeg] if jpeg else []
    where = ["--output", f"runs/evaluation/{name}", "--no-report", "--record"]
    return Step(("evaluate", f"src/upres/models/{name}.onnx", *sets, *quality, *where))


def run(todo: Sequence[Step], perform: Perform, root: Path = ROOT) -> int:
    """Run commands up to the first that fails; return its exit code, or 0.

    Stages that were trained under ``root`` are passed over, one that was begun is resumed.
    """
    for step in todo:
        arguments = step.arguments
        if step.stage is not None:
            if is_trained(step, root):
                print(f"# there already: runs/{step.stage}", flush=True)
                continue
            if (root / "runs" / step.stage / "last.pt").exists():
                arguments = (*arguments, "--resume")
        print(Step(arguments, step.stage, step.until), flush=True)
        if code := perform(arguments, partial(_is_enough, step, root)):
            return code
    return 0


def _is_enough(step: Step, root: Path) -> bool:
    return step.until is not None and is_trained(step, root)


def is_trained(step: Step, root: Path) -> bool:
    """Whether a stage, which ``step`` trains, has its model or the validation that ends it."""
    assert step.stage is not None
    if step.until is None:
        return (root / trained(step.stage)).exists()
    log = root / "runs" / step.stage / "log.csv"
    if not log.exists():
        return False
    with log.open(encoding="utf-8", newline="") as file:
        return any(
            row["valid_psnr"] and int(row["step"]) >= step.until for row in csv.DictReader(file)
        )


def perform(arguments: Sequence[str], enough: Callable[[], bool]) -> int:
    """Run upres with ``arguments``; once it is ``enough``, interrupt it."""
    return run_until([sys.executable, "-m", "upres", *arguments], enough)


def run_until(
    command: Sequence[str], enough: Callable[[], bool], *, every: float = LOOK_EVERY
) -> int:
    """Run a command to its end, or until it is ``enough``: then interrupt it, as Ctrl-C does.

    Looks ``every`` so many seconds. Returns the exit code, 0 if it was enough.
    """
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            while process.poll() is None:
                if enough():
                    process.send_signal(signal.SIGINT)
                    process.wait()
                    return 0
                time.sleep(every)
        except KeyboardInterrupt:  # the command got it, too, and saves its state
            process.wait()
        return process.returncode


def main(given: Sequence[str] | None = None) -> int:
    """Print or run the commands that the arguments ask for; return the exit code."""
    chain = read_chain()
    parser = argparse.ArgumentParser(description="The commands that make the shipped models.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(chain.models))
    parser.add_argument(
        "--run", action="store_true", help="Run the commands, and do not just print"
    )
    options = parser.parse_args(given)
    if unknown := [name for name in options.models if name not in chain.models]:
        parser.error(f"{unknown[0]}: no such model; there are {', '.join(chain.models)}")
    todo = steps(chain, options.models or list(chain.models))
    if options.run:
        return run(todo, perform)
    print(*todo, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
