"""Plots as SVG text: quality against cost, and curves of training.

Text stays text, so that it can be searched and takes the page's font. The same input
gives the same SVG, byte for byte.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

INK, LINE = "#20242b", "#c9ced6"
"""Colours of text and of grid lines; a page that has its own sets them by CSS."""

MUTED = "#6b7280"
"""Of figures measured elsewhere; like ``COLOURS`` it shows on white and on near-black."""

COLOURS = (
    *("#2b7bd0", "#d8661c", "#199a70", "#c03a7f", "#8561cf"),
    *("#a88400", "#1c9db0", "#d24848"),
)
"""Told apart on white and on near-black."""
MARKERS = "osD^vPX*"
DASHES = ("", "6 2.5", "6 2.5 1.5 2.5", "1.5 2")
"""Lengths of line and gap, as SVG has them."""

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 11,
    "svg.fonttype": "none",
    "text.parse_math": False,  # names may hold dollar signs
    "text.color": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Point:
    """One method: its cost, and its PSNR in dB."""

    label: str
    cost: float
    psnr: float
    number: int
    """Its place among the methods, which chooses colour and marker."""
    elsewhere: bool = False
    """Measured elsewhere than the others: a small hollow grey circle, whatever its number."""


@dataclass(frozen=True)
class Curve:
    """One run's course."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    number: int
    """Its place among the runs, which chooses colour and dashes."""


@dataclass(frozen=True)
class Panel:
    """Curves over one another, with the names of the axes."""

    curves: Sequence[Curve]
    x_label: str
    y_label: str


def colour(number: int) -> str:
    """The colour of the method or run in place ``number``."""
    return COLOURS[number % len(COLOURS)]


def dashes(number: int) -> str:
    """The dashes of the run in place ``number``: they change once colours are used up."""
    return DASHES[number // len(COLOURS) % len(DASHES)]


def scatter(
    points: Sequence[Point],
    *,
    baseline: tuple[str, float] | None,
    x_label: str,
    text: Callable[[float], str],
    name: str,
    size: tuple[float, float] = (5.6, 3.7),
    ground: str = "none",
) -> str | None:
    """PSNR against cost, on a logarithmic axis, each point labelled; None without points.

    ``baseline`` is a label and a PSNR that stand as a line across; ``text`` writes a cost
    at its tick. Points without a finite PSNR or a cost above zero are left out.
    ``name`` tells the plot's inner names from those of others on a page; ``size`` is in
    inches, and ``ground`` the colour behind it, which a plot that stands for itself needs.
    """
    points = [p for p in points if p.cost > 0 and math.isfinite(p.psnr)]
    if not points:
        return None
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, dpi=72, layout="constrained")
        axes = figure.add_subplot()
        axes.set_xscale("log")
        low, high = (math.log10(f(p.cost for p in points)) for f in (min, max))
        space = max(0.3, 0.18 * (high - low))
        axes.set_xlim(10 ** (low - space), 10 ** (high + space))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high - low < 1.2 else (1,)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: text(x)))
        axes.margins(y=0.15)
        axes.set(xlabel=x_label, ylabel="PSNR (dB)")
        for p in points:
            axes.plot(
                [p.cost],
                [p.psnr],
                "o" if p.elsewhere else MARKERS[p.number % len(MARKERS)],
                color=_ink(p),
                markerfacecolor="none" if p.elsewhere else _ink(p),
                markersize=6 if p.elsewhere else 8,
            )
        if baseline is not None and math.isfinite(baseline[1]):
            label, level = baseline
            axes.axhline(level, color=INK, linewidth=1, linestyle="--")
            # Its text stands at the left edge, above the line.
            axes.annotate(
                label,
                (0, level),
                xycoords=axes.get_yaxis_transform(),
                xytext=(4, 3),
                textcoords="offset points",
            )
        _label(figure, axes, points)
        return _svg(figure, name, ground)


def _ink(point: Point) -> str:
    return MUTED if point.elsewhere else colour(point.number)


def _label(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Write each point's label where it covers least of the plot so far."""
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    figure.draw_without_rendering()
    taken = [t.get_window_extent(renderer) for t in axes.texts]
    centres = [axes.transData.transform((p.cost, p.psnr)) for p in points]
    # Wider than the marker, as a label that touches another's would be read as that one's.
    taken += [Bbox.from_bounds(x - 8, y - 8, 16, 16) for x, y in centres]
    inside = axes.get_window_extent(renderer)
    for p in sorted(points, key=lambda p: -p.psnr):
        best = None
        for dx, dy, ha, va in (
            *((9, 0, "left", "center"), (-9, 0, "right", "center")),
            *((0, 9, "center", "bottom"), (0, -9, "center", "top")),
            *((7, 7, "left", "bottom"), (-7, 7, "right", "bottom")),
            *((7, -7, "left", "top"), (-7, -7, "right", "top")),
            *((9, 20, "left", "bottom"), (9, -20, "left", "top")),
        ):
            note = axes.annotate(
                p.label,
                (p.cost, p.psnr),
                xytext=(dx, dy),
                textcoords="offset points",
                ha=ha,
                va=va,
                color=_ink(p),
            )
            box = note.get_window_extent(renderer)
            outside = box.width * box.height - _common_area(box, inside)
            cost = outside + sum(_common_area(box, other) for other in taken)
            if best is None or cost < best[0] - 1e-6:
                if best is not None:
                    best[1].remove()
                best = (cost, note, box)
            else:
                note.remove()
            if best[0] < 1e-6:
                break
        assert best is not None  # there are places to try
        taken.append(best[2])


def _common_area(a: Bbox, b: Bbox) -> float:
    common = Bbox.intersection(a, b)
    return 0.0 if common is None else float(common.width * common.height)


def curves(panels: Sequence[Panel], *, name: str, legend: bool = True) -> str:
    """Panels side by side; ``name`` as in ``scatter``.

    With ``legend`` it stands for itself: a legend above, and white behind. A page has its
    own of both.
    """
    with mpl.rc_context(_STYLE):
        count = len(panels)
        figure = Figure(figsize=(5.6 * max(1, count), 3.7), dpi=72, layout="constrained")
        handles = {}
        for place, panel in enumerate(panels, 1):
            axes = figure.add_subplot(1, count, place)
            axes.set(xlabel=panel.x_label, ylabel=panel.y_label)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.6g}"))
            for curve in panel.curves:
                lengths = [float(length) for length in dashes(curve.number).split()]
                (line,) = axes.plot(
                    curve.x,
                    curve.y,
                    linestyle=(0, lengths) if lengths else "-",
                    color=colour(curve.number),
                    linewidth=1.6,
                    # A single value would not show as a line.
                    marker="o" if len(curve.x) <= 30 else None,
                    markersize=4,
                )
                handles[curve.label] = line
        if legend and handles:
            # A letter is 7 points wide at most on the average, a line and its gaps 50.
            widest = 7 * max(map(len, handles)) + 50
            figure.legend(
                handles.values(),
                handles.keys(),
                loc="outside upper left",
                ncols=max(1, min(len(handles), int(72 * figure.get_figwidth() / widest))),
            )
        return _svg(figure, name, "white" if legend else "none")


def _svg(figure: Figure, name: str, ground: str = "none") -> str:
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, facecolor=ground)
    return buffer.getvalue()


def inline(svg: str, *, title: str) -> str:
    """The SVG as a page has it: without prologue and size, in the page's colours and font.

    Inner names that nothing refers to are dropped, as two plots would share them.
    """
    svg = svg[svg.index("<svg") :]
    # The style sheet would hold for the whole page.
    for part in ("<metadata>.*?</metadata>", "<style.*?</style>", "font-family: [^;]*; "):
        svg = re.sub(part, "", svg, flags=re.DOTALL)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    used = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", svg)
    svg = svg.replace(INK, "var(--ink)").replace(LINE, "var(--line)")
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1)
