"""The command ``upres models``: parses, calls, prints."""

from __future__ import annotations


def models() -> None:
    """List the shipped models, with their scores, size and training data."""
    from rich.console import Console
    from rich.table import Table

    from upres.models import load_model, shipped_models

    console = Console()
    table = Table("model", "scale", "parameters", "file", "precision", "trained for", "PSNR / SSIM")
    trained_on: dict[str, list[str]] = {}
    measured_by: dict[str, list[str]] = {}
    for name, scales in shipped_models().items():
        for scale, path in sorted(scales.items()):
            card = load_model(name, scale=scale).card
            scores = (f"{s.dataset} {s.psnr:.2f} / {s.ssim:.4f}" for s in card.scores)
            table.add_row(
                name,
                f"x{scale}",
                f"{card.parameter_count:,}" if card.parameter_count else "?",
                f"{path.stat().st_size / 1e6:.1f} MB",
                f"{card.precision}{', self-ensembled' if card.self_ensemble else ''}",
                card.degradation,
                "\n".join(scores) or "not measured",
            )
            trained_on.setdefault(card.data, []).append(f"{name} x{scale}")
            if card.protocol:
                measured_by.setdefault(card.protocol, []).append(f"{name} x{scale}")
    console.print(table)
    for data, labels in trained_on.items():
        console.print(f"{', '.join(labels)}: trained on {data}.", highlight=False)
    for protocol, labels in measured_by.items():
        console.print(f"PSNR in dB and SSIM of {', '.join(labels)}: {protocol}.", highlight=False)
