#!/usr/bin/env python3
"""Turns what a terminal shows into an SVG picture: text with colours in, a picture out.

    tmux capture-pane -e -p | scripts/picture.py docs/pictures/status.svg --title "fleet status"

Understood are lines and SGR colours, which is what `tmux capture-pane -e` prints: a terminal has already
resolved every movement of the cursor. Any other control sequence is an error, so that no picture shows
what no terminal did. `scripts/pictures.sh` makes all pictures of the documentation with it.
"""

import argparse
import re
import sys
import unicodedata
from html import escape

CELL, LINE, SIZE, PAD, BAR = 8.0, 18, 13.3, 16, 30
GROUND, TEXT, FAINT = "#14171c", "#d7dce3", "#7d8694"
# The sixteen colours of a terminal, dark ground; the last eight are the bright ones.
COLOURS = ["#3b4252", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d7dce3"] + [
    "#7d8694", "#f0868f", "#b3d89a", "#f2d399", "#86c3f7", "#d69aea", "#7bcdd8", "#ffffff"]
SEQUENCE = re.compile("\x1b\\[([0-9;:]*)([A-Za-z])|\x1b[()][A-Z0-9]|\x0e|\x0f")


def cells(text):
    """Columns that a text takes on a terminal."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def indexed(number):
    """Colour of a 256-colour index."""
    if number < 16:
        return COLOURS[number]
    if number < 232:
        number -= 16
        steps = [0, 95, 135, 175, 215, 255]
        return "#%02x%02x%02x" % (steps[number // 36], steps[number // 6 % 6], steps[number % 6])
    return "#%02x%02x%02x" % ((8 + 10 * (number - 232),) * 3)


class Style:
    """What SGR sequences have set so far."""

    def __init__(self):
        self.clear()

    def clear(self):
        self.fore = self.back = None
        self.bold = self.faint = self.under = self.swap = False

    def apply(self, codes):
        codes = [int(code or 0) for code in codes.replace(":", ";").split(";")]
        while codes:
            code = codes.pop(0)
            if code == 0:
                self.clear()
            elif code == 1:
                self.bold = True
            elif code == 2:
                self.faint = True
            elif code == 4:
                self.under = True
            elif code == 7:
                self.swap = True
            elif code == 22:
                self.bold = self.faint = False
            elif code == 24:
                self.under = False
            elif code == 27:
                self.swap = False
            elif code in (38, 48) and codes[:1] == [5]:
                self.colour(code == 38, indexed(codes[1]))
                del codes[:2]
            elif code in (38, 48) and codes[:1] == [2]:
                self.colour(code == 38, "#%02x%02x%02x" % tuple(codes[1:4]))
                del codes[:4]
            elif 30 <= code <= 37 or 90 <= code <= 97:
                self.fore = COLOURS[code - 30 if code < 40 else code - 82]
            elif 40 <= code <= 47 or 100 <= code <= 107:
                self.back = COLOURS[code - 40 if code < 50 else code - 92]
            elif code == 39:
                self.fore = None
            elif code == 49:
                self.back = None

    def colour(self, fore, value):
        if fore:
            self.fore = value
        else:
            self.back = value

    def look(self):
        """(text colour, ground or None, bold, underlined)"""
        fore, back = self.fore or (FAINT if self.faint else TEXT), self.back
        if self.swap:
            fore, back = back or GROUND, fore
        return fore, back, self.bold, self.under


def runs(lines):
    """Per line: [(column, text, look)]."""
    style, out = Style(), []
    for line in lines:
        row, column, at = [], 0, 0
        for found in list(SEQUENCE.finditer(line)) + [None]:
            text = line[at:found.start() if found else len(line)]
            if any(unicodedata.category(c) == "Cc" for c in text):
                raise SystemExit(f"picture: a control sequence that is no colour: {text!r}")
            if text:
                row.append((column, text, style.look()))
                column += cells(text)
            if found:
                at = found.end()
                if found.group(2) == "m":
                    style.apply(found.group(1))
                elif found.group(2):
                    raise SystemExit(f"picture: a control sequence that is no colour: {found.group(0)!r}")
        out.append(row)
    return out


def svg(lines, title, columns):
    rows = runs(lines)
    widest = max((column + cells(text) for row in rows for column, text, _ in row), default=1)
    width, height = max(columns or 0, widest) * CELL + 2 * PAD, BAR + len(rows) * LINE + PAD
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" '
        f'aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="100%" height="100%" rx="8" fill="{GROUND}"/>',
        f'<text x="{width / 2:g}" y="20" fill="{FAINT}" font-family="sans-serif" font-size="12" '
        f'text-anchor="middle">{escape(title)}</text>',
        f'<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,\'DejaVu Sans Mono\',monospace" '
        f'font-size="{SIZE}" xml:space="preserve">',
    ]
    for number, row in enumerate(rows):
        y = BAR + number * LINE + 13
        for column, text, (fore, back, bold, under) in row:
            x, wide = PAD + column * CELL, cells(text) * CELL
            if back:
                parts.append(f'<rect x="{x:g}" y="{y - 13}" width="{wide:g}" height="{LINE}" fill="{back}"/>')
            if not text.strip():
                continue
            # The length is written down, so that columns stay columns whatever font there is.
            more = ' font-weight="bold"' if bold else ""
            more += ' text-decoration="underline"' if under else ""
            parts.append(f'<text x="{x:g}" y="{y}" fill="{fore}"{more} textLength="{wide:g}" '
                         f'lengthAdjust="spacingAndGlyphs">{escape(text)}</text>')
    return "\n".join(parts + ["</g>", "</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description="Text with terminal colours on stdin, an SVG picture to FILE.")
    parser.add_argument("file", help="picture to write")
    parser.add_argument("--title", default="", help="line above the text, and the picture's name for those who cannot see it")
    parser.add_argument("--columns", type=int, help="width of the terminal; wider text wins")
    options = parser.parse_args()
    lines = [line.rstrip() for line in sys.stdin.read().replace("\r\n", "\n").rstrip("\n").split("\n")]
    while lines and not SEQUENCE.sub("", lines[-1]).strip():
        lines.pop()
    with open(options.file, "w", encoding="utf-8") as out:
        out.write(svg(lines, options.title, options.columns))


if __name__ == "__main__":
    main()
