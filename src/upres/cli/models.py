"""The command ``upres models``: looks up, prints."""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from upres.cli.help import argument, option

if TYPE_CHECKING:
    from upres.card import ModelCard
    from upres.engine.protocol import Choice
    from upres.models.catalogue import Listed, Variant

Facts = dict[str, str | tuple[str, ...]]
"""Facts on a model, by their labels: a text to wrap, or lines."""


def models(
    model: Annotated[str | None, argument("MODEL")] = None,
    as_json: Annotated[bool, option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """List the shipped models, or tell all that is known of one.

    MODEL is a name from the list, a name with -int8, or an .onnx file. Without it, each model has
    a line: its scales, its precisions, the size of its largest file, its speed, and its purpose.

    Speed goes by the multiply-adds for each pixel of the picture, about as many as the model has
    parameters, and eight times as many if it is self-ensembled: fast is below 500 thousand, slow
    from 5 million. In int8 a model is faster still where the processor is made for it.

    Of a model that is named, the precision is told that is taken on this machine for each scale,
    and why.

    With --json, a list of models is printed, or the one that is named. A model has name, purpose,
    scales, precisions and variants, and if it was named, here: by scale, precision and why. A
    variant has scale, precision, speed, parameters, bytes and file, and card if the model was
    named.
    """
    from upres.models.catalogue import catalogue, look_up

    listed = catalogue() if model is None else [look_up(model)]
    if as_json:
        import json  # which takes longer to import than most commands' own files

        entries = [_as_json(entry, with_cards=model is not None) for entry in listed]
        if model is not None:
            here = _here(listed[0]).items()
            told = {n: {"precision": c.model.mode, "why": c.why} for n, c in here}
            entries[0]["here"] = told
        print(json.dumps(entries if model is None else entries[0], indent=2))
    elif model is None:
        print("\n".join(table(listed)))
        print("\nupres models NAME tells all of one, such as its scores.")
    else:
        print("\n".join(details(listed[0], _here(listed[0]))))


def _here(entry: Listed) -> dict[int, Choice]:
    from upres.engine.backends import default_backend
    from upres.models.catalogue import chosen_here

    return chosen_here(entry, default_backend())


def _as_json(entry: Listed, *, with_cards: bool) -> dict[str, Any]:
    return {
        "name": entry.name,
        "purpose": entry.purpose,
        "scales": entry.scales,
        "precisions": entry.precisions,
        "variants": [
            {
                "scale": variant.card.scale,
                "precision": variant.card.precision,
                "speed": variant.speed,
                "parameters": variant.card.parameter_count,
                "bytes": variant.bytes,
                "file": str(variant.path),
            }
            | ({"card": dataclasses.asdict(variant.card)} if with_cards else {})
            for variant in entry.variants
        ],
    }


def table(listed: list[Listed]) -> list[str]:
    """A line a model, under a line of titles."""
    rows = [("MODEL", "SCALES", "PRECISION", "SIZE", "SPEED", "FOR")]
    for entry in listed:
        speeds = dict.fromkeys(variant.speed for variant in entry.variants)
        rows.append(
            (
                entry.name,
                " ".join(map(str, entry.scales)),
                " ".join(entry.precisions),
                _megabytes(max(variant.bytes for variant in entry.variants)),
                "/".join(speeds),
                entry.purpose,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def details(entry: Listed, here: Mapping[int, Choice]) -> list[str]:
    """All of the cards, where a fact that several files have in common is told once; and the choice
    for each scale on this machine.
    """
    common = _common([_facts(variant) for variant in entry.variants])
    about: Facts = {"for": entry.purpose}
    lines = _section(entry.name, about | common)
    if here:
        taken = {f"x{n}": f"{choice.model.mode}: {choice.why}" for n, choice in here.items()}
        lines += _section(f"{entry.name} on this machine", dict(taken))
    for scale in entry.scales:
        of_scale = {
            variant.card.precision: _without(_facts(variant), common)
            for variant in entry.variants
            if variant.card.scale == scale
        }
        shared = _common(list(of_scale.values()))
        if len(entry.variants) > 1:
            lines += _section(f"{entry.name} x{scale}", shared)
        for precision, facts in of_scale.items():
            if rest := _without(facts, shared):
                lines += _section(f"{entry.name} x{scale}, {precision}", rest)
    return lines[1:]


def _facts(variant: Variant) -> Facts:
    card = variant.card
    return {
        "file": f"{variant.path.name}, {variant.bytes:,} bytes",
        "card's name": card.name,
        "scale": f"x{card.scale}",
        "precision": card.precision,
        "speed": variant.speed,
        "parameters": "unknown" if card.parameter_count is None else f"{card.parameter_count:,}",
        "network": _network(card),
        "self-ensemble": _word(card.self_ensemble),
        "halo": "the whole picture" if card.halo is None else f"{card.halo} pixels",
        "input": f"{card.channels} channels from {card.value_range[0]:g} to "
        f"{card.value_range[1]:g}, sides a multiple of {card.multiple_of}",
        "trained for": card.degradation,
        "trained on": card.data,
        "recipe": card.recipe or "unknown",
        "commit": card.commit or "unknown",
        "PSNR, SSIM": tuple(
            f"{score.dataset:24} {score.psnr:5.2f} dB  {score.ssim:.4f}  ({score.images} pictures)"
            for score in card.scores
        )
        or "not measured",
        "measured by": card.protocol or "unknown",
        "card's format": str(card.format_version),
    }


def _network(card: ModelCard) -> str:
    parameters = (f"{name} {_word(value)}" for name, value in card.network_parameters.items())
    return ", ".join((card.network, *parameters))


def _word(value: float | bool) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else f"{value:g}"


def _common(several: list[Facts]) -> Facts:
    return {
        label: value
        for label, value in several[0].items()
        if all(facts.get(label) == value for facts in several)
    }


def _without(facts: Facts, told: Facts) -> Facts:
    return {label: value for label, value in facts.items() if label not in told}


def _section(title: str, facts: Facts) -> list[str]:
    width = min(shutil.get_terminal_size().columns, 100)
    lines = ["", title]
    for label, value in facts.items():
        first, rest = f"  {label:15}", " " * 17
        if isinstance(value, str):
            lines += textwrap.wrap(value, width, initial_indent=first, subsequent_indent=rest)
        else:
            lines += [f"{first if i == 0 else rest}{line}" for i, line in enumerate(value)]
    return lines


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
