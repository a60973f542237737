"""Plots of horizontal bars as SVG, light and dark, for the documents."""

from __future__ import annotations

import math
from pathlib import Path
from xml.sax.saxutils import escape

IMAGES = Path(__file__).resolve().parent.parent / "docs/images"
THEMES = {
    "light": {"text": "#1f2328", "grid": "#d1d9e0", "ours": "#0969da", "other": "#8c959f"},
    "dark": {"text": "#f0f6fc", "grid": "#3d444d", "ours": "#4493f8", "other": "#768390"},
}


def picture(
    name: str, title: str, rows: list[tuple[str, bool, float | None]], *, logarithmic: bool = False
) -> str:
    """Write a plot to ``docs/images/NAME-light.svg`` and ``-dark.svg``.

    Args:
        name: Of the files.
        title: What is plotted, with its unit.
        rows: Label, whether it is to stand out, value, for each bar.
        logarithmic: Whether the lengths are.

    Returns:
        HTML that shows it in a document of ``docs``.
    """
    IMAGES.mkdir(exist_ok=True)
    for theme, colours in THEMES.items():
        plot = _bars(title, rows, logarithmic=logarithmic, theme=colours)
        (IMAGES / f"{name}-{theme}.svg").write_text(plot, encoding="utf-8")
    return (
        "<picture>\n"
        f'  <source media="(prefers-color-scheme: dark)" srcset="images/{name}-dark.svg">\n'
        f'  <img alt="{escape(title)}" src="images/{name}-light.svg">\n'
        "</picture>"
    )


def _bars(
    title: str,
    rows: list[tuple[str, bool, float | None]],
    *,
    logarithmic: bool,
    theme: dict[str, str],
) -> str:
    """Return a plot with one bar a row: label, whether it is ours, value."""
    left = 20 + 7 * max(len(label) for label, _, _ in rows)
    width, row_height, top = 700 - left, 26, 44
    values = [value for _, _, value in rows if value]
    low = min(values, default=1.0) / 2 if logarithmic else 0.0
    high = max(values, default=1.0)

    def length(value: float) -> float:
        if logarithmic:
            return width * math.log(value / low) / math.log(high / low)
        return width * value / high

    height = top + row_height * len(rows) + 12
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 {height}" role="img" '
            f'font-family="system-ui, sans-serif" font-size="13" fill="{theme["text"]}">'
        ),
        f"<title>{escape(title)}</title>",
        f'<text x="10" y="22" font-size="15" font-weight="600">{escape(title)}</text>',
        f'<path d="M{left} {top - 6}V{height - 8}" stroke="{theme["grid"]}"/>',
    ]
    for index, (label, ours, value) in enumerate(rows):
        y = top + index * row_height
        parts.append(f'<text x="{left - 10}" y="{y + 13}" text-anchor="end">{escape(label)}</text>')
        if not value:
            parts.append(f'<text x="{left + 8}" y="{y + 13}">–</text>')
            continue
        colour = theme["ours"] if ours else theme["other"]
        bar = max(1.0, length(value))
        digits = 0 if value >= 1000 else 2 if value < 10 else 1  # noqa: PLR2004  # three figures
        parts.append(
            f'<rect x="{left}" y="{y}" width="{bar:.1f}" height="18" rx="2" fill="{colour}"/>'
        )
        parts.append(f'<text x="{left + bar + 8:.1f}" y="{y + 13}">{value:,.{digits}f}</text>')
    return "\n".join([*parts, "</svg>", ""])
