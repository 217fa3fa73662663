"""Draws the cases as bars, each a multiple of nginx doing the same: an SVG for light and dark pages."""

from collections.abc import Iterator
from xml.sax.saxutils import escape

from tests.bench.report import BASE, OURS, Report, number, ratio
from tests.bench.rounds import Measured

COLOURS = {BASE: "#8c959f", "uvicorn": "#c69026", OURS: "#2f81f7"}
TEXT = "#7d8590"
"""Greys and hues of middle lightness: they can be read on white and on near-black."""

WIDTH = 760
LEFT = 240
RIGHT = 110
BAR = 12
GAP = 3
CASE_GAP = 14
TOP = 46
BOTTOM = 14


def svg(report: Report) -> str:
    """Return the chart of all cases in which nginx took part."""
    groups = [
        (
            case.heading(report.scale),
            case.unit,
            {label: measured[label] for label in COLOURS if label in measured},
        )
        for case, measured in report.cases
        if BASE in measured
    ]
    longest = max(
        (ratio(measured, label) or 0.0 for _, _, measured in groups for label in measured), default=1.0
    )
    scale = (WIDTH - LEFT - RIGHT) / longest
    body, top = [*_legend()], TOP
    for title, unit, measured in groups:
        body += _group(title, unit, measured, top, scale)
        top += _height(measured) + CASE_GAP
    return "\n".join([_opening(top - CASE_GAP + BOTTOM), *body, "</svg>", ""])


def _opening(height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="Throughput of one core as a multiple of nginx" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{TEXT}">'
    )


def _legend() -> Iterator[str]:
    left = LEFT
    for label, colour in COLOURS.items():
        name = "bare uvicorn" if label == "uvicorn" else label
        yield f'<rect x="{left}" y="12" width="{BAR}" height="{BAR}" rx="2" fill="{colour}"/>'
        yield _text(left + BAR + 6, 22, name)
        left += 34 + 7 * len(name)


def _group(title: str, unit: str, measured: dict[str, Measured], top: int, scale: float) -> Iterator[str]:
    yield _text(LEFT - 12, top + _height(measured) / 2 + 4, title, anchor="end")
    for position, (label, one) in enumerate(measured.items()):
        y = top + position * (BAR + GAP)
        width = (ratio(measured, label) or 0.0) * scale
        yield f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{COLOURS[label]}"/>'
        rate = f"{number(one.rate)} {unit}" if unit == "MiB/s" else f"{number(one.rate)}/s"
        multiple = "" if label == BASE else f"{ratio(measured, label):.2f} × · "
        yield _text(LEFT + width + 6, y + BAR - 2, multiple + rate, size=10)


def _height(measured: dict[str, Measured]) -> int:
    return len(measured) * (BAR + GAP) - GAP


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
