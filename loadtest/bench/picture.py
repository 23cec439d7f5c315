"""Pictures of results as SVG files: no script, no font, no address. Light colours are attributes, dark ones a
style for prefers-color-scheme, as in loadtest/plot.c."""

import math
import statistics
from html import escape

LIGHT = {"ink": "#1c232c", "dim": "#5b6673", "grid": "#dfe4ea", "axis": "#76818f", "ground": "#ffffff",
         "ours": "#1f6fd0", "floor": "#9aa5b4", "peer": "#d9a08c", "second": "#d9542b"}
DARK = {"ink": "#e4e8ee", "dim": "#9aa5b4", "grid": "#343c48", "axis": "#76818f", "ground": "#14181e",
        "ours": "#6cb0ff", "floor": "#5b6673", "peer": "#8a5544", "second": "#ff8f66"}
WIDTH, GAP, MARGIN = 820, 30, 18
BAR, BAR_STEP, PANEL_HEAD = 13, 20, 44
LETTER = 6.6


def number(value):
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def text(x, y, words, kind="ink", anchor="start", extra=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}" fill="{LIGHT[kind]}"{extra}>'
            f"{escape(words)}</text>")


def box(x, y, width, height, kind):
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" rx="2" '
            f'class="{kind}" fill="{LIGHT[kind]}"/>')


def line(x1, y1, x2, y2, kind, width=1):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="l-{kind}" '
            f'stroke="{LIGHT[kind]}" stroke-width="{width}"/>')


def whole(height, title, note, body):
    """A line of `note` must fit; it is the caller's to break it."""
    style = "".join(f".{kind}{{fill:{colour}}}.l-{kind}{{stroke:{colour}}}" for kind, colour in DARK.items())
    head = [text(MARGIN, 30, title, extra=' font-size="16" font-weight="600"')]
    head += [text(MARGIN, 48 + 15 * i, words, "dim") for i, words in enumerate(note)]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" font-family="system-ui,sans-serif" font-size="12">'
            f"<style>@media(prefers-color-scheme:dark){{{style}}}</style>"
            f'<rect width="{WIDTH}" height="{height}" class="ground" fill="{LIGHT["ground"]}"/>'
            + "\n".join(head + body) + "</svg>\n")


def panel(x, y, width, title, unit, bars):
    """`bars`: label, kind, numbers of all rounds, words behind the figure. Whiskers are the range."""
    out = [text(x, y + 12, title, extra=' font-weight="600"'), text(x, y + 28, unit, "dim")]
    left = x + 92
    told = [f"{number(statistics.median(numbers))}{extra}" for _, _, numbers, extra in bars]
    room = width - 92 - max(len(words) for words in told) * LETTER - 12
    most = max(max(numbers) for _, _, numbers, _ in bars) or 1
    for i, (label, kind, numbers, _) in enumerate(bars):
        at, mid = y + PANEL_HEAD + i * BAR_STEP, statistics.median(numbers)
        low, high = (left + max(value, 0) / most * room for value in (min(numbers), max(numbers)))
        out.append(text(left - 6, at + 11, label, "ink" if kind == "ours" else "dim", "end"))
        out.append(box(left, at, max(mid, 0) / most * room, BAR, kind))
        if high - low > 1:
            out.append(line(low, at + BAR / 2, high, at + BAR / 2, "axis", 1.5))
        out.append(text(max(high, left) + 6, at + 11, told[i], "ink" if kind == "ours" else "dim"))
    return out, PANEL_HEAD + len(bars) * BAR_STEP + 16


def bars_picture(title, note, panels):
    """`panels`: (title, unit, bars), laid out in two columns, each where there is more room."""
    width = (WIDTH - 2 * MARGIN - GAP) / 2
    top = 48 + 15 * len(note) + 8
    ends, body = [top, top], []
    for name, unit, bars in panels:
        column = 0 if ends[0] <= ends[1] else 1
        drawn, height = panel(MARGIN + column * (width + GAP), ends[column], width, name, unit, bars)
        body += drawn
        ends[column] += height
    return whole(int(max(ends)) + 6, title, note, body)


def step_above(value):
    power = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 3, 5, 10) if step * power >= value)


def curve_panel(x, y, width, title, unit, lines):
    """`lines`: (label, kind, {x: numbers}). Places on the x axis are even, as x grows by factors."""
    height, left = 190, x + 44
    places = sorted({at for _, _, points in lines for at in points})
    most = step_above(max(max(numbers) for _, _, points in lines for numbers in points.values()))
    out = [text(x, y + 12, title, extra=' font-weight="600"'), text(x, y + 28, unit, "dim")]
    bottom, top = y + 44 + height, y + 44

    def to_x(at):
        return left + 24 + places.index(at) * (width - 44 - 48) / max(len(places) - 1, 1)

    def to_y(value):
        return bottom - value / most * (bottom - top)

    for i in range(5):
        out.append(line(left, to_y(most * i / 4), x + width, to_y(most * i / 4), "grid" if i else "axis"))
        out.append(text(left - 6, to_y(most * i / 4) + 4, number(most * i / 4), "dim", "end"))
    for at in places:
        out.append(text(to_x(at), bottom + 17, f"{at:,}", "dim", "middle"))
    for label, kind, points in lines:
        mids = {at: statistics.median(numbers) for at, numbers in points.items()}
        path = " ".join(f"{to_x(at):.1f},{to_y(mids[at]):.1f}" for at in sorted(mids))
        out.append(f'<polyline points="{path}" fill="none" class="l-{kind}" stroke="{LIGHT[kind]}" stroke-width="2"/>')
        for at, numbers in points.items():
            out.append(line(to_x(at), to_y(min(numbers)), to_x(at), to_y(max(numbers)), kind, 1.2))
            out.append(f'<circle cx="{to_x(at):.1f}" cy="{to_y(mids[at]):.1f}" r="3.5" class="{kind}" '
                       f'fill="{LIGHT[kind]}"/>')
            out.append(text(to_x(at) + 7, to_y(mids[at]) - 7, number(mids[at]), "dim"))
    at = left
    for label, kind, _ in lines:
        out += [box(at, bottom + 30, 12, 4, kind), text(at + 18, bottom + 36, label)]
        at += 18 + LETTER * len(label) + 16
    return out, bottom + 50 - y


def curves_picture(title, note, panels):
    width = (WIDTH - 2 * MARGIN - GAP) / 2
    top, body, height = 48 + 15 * len(note) + 8, [], 0
    for i, (name, unit, lines) in enumerate(panels):
        drawn, height = curve_panel(MARGIN + i * (width + GAP), top, width, name, unit, lines)
        body += drawn
    return whole(int(top + height), title, note, body)


def write(path, svg):
    with open(path, "w") as f:
        f.write(svg)
