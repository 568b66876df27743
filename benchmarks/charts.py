"""Charts for pages, as SVG: two axes, lines and labelled points."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

__all__ = ["Chart"]

_LINE = 13  # a line of text, in pixels


@dataclass
class Chart:
    """A chart that grows by `line`, `point` and `text`; `svg` gives it.

    Attributes:
        across, up: titles of the axes.
        x, y: what the axes reach from and to.
        logarithmic: the axis across; it then starts above 0.
        margin: pixels that are left free at the right, for a legend.
    """

    across: str
    up: str
    x: tuple[float, float]
    y: tuple[float, float]
    logarithmic: bool = False
    width: int = 760
    height: int = 420
    margin: int = 20
    _parts: list[str] = field(default_factory=list)
    _taken: list[tuple[float, float, float]] = field(default_factory=list)

    @property
    def right(self) -> int:
        """Where the axis across ends, in pixels."""
        return self.width - self.margin

    @property
    def top(self) -> int:
        """Where the axis up ends, in pixels."""
        return 16

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a point."""
        scale = math.log if self.logarithmic else float
        share = (scale(x) - scale(self.x[0])) / (scale(self.x[1]) - scale(self.x[0]))
        height = (y - self.y[0]) / (self.y[1] - self.y[0])
        return 50 + (self.right - 50) * share, self._bottom - (self._bottom - self.top) * height

    def line(self, points: Sequence[tuple[float, float]], colour: str, thick: float = 1.5) -> None:
        """Through points."""
        where = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.place(*point) for point in points))
        self._parts.append(f'<polyline points="{where}" fill="none" stroke="{colour}" stroke-width="{thick}"/>')

    def legend(self, index: int, text: str, colour: str, thick: float = 1.5) -> None:
        """What a line stands for: row `index` of the right margin."""
        y = self.top + 14 + 20 * index
        self._parts.append(f'<path d="M{self.right + 16},{y - 4} h24" stroke="{colour}" stroke-width="{thick}"/>')
        self.text(self.right + 46, y, text)

    def point(self, x: float, y: float, text: str, colour: str = "black") -> None:
        """A point and its label, which moves down where another label is."""
        left, middle = self.place(x, y)
        self._parts.append(f'<circle cx="{left:.1f}" cy="{middle:.1f}" r="4" fill="{colour}"/>')
        wide = 6.2 * len(text)
        begin = left + 8 if left + 8 + wide < self.width else left - 8 - wide
        low = min(middle + 4, self._bottom - 6)  # above the axis
        while any(abs(low - y) < _LINE and begin < b and a < begin + wide for y, a, b in self._taken):
            low += 2
        self._taken.append((low, begin, begin + wide))
        if low > middle + 10:
            end = begin - 2 if begin > left else begin + wide + 2
            self._parts.append(
                f'<path d="M{left:.1f},{middle:.1f} L{end:.1f},{low - 4:.1f}" stroke="{colour}" stroke-width="0.5"/>'
            )
        self.text(begin, low, text)

    def text(self, x: float, y: float, text: str, anchor: str = "start") -> None:
        """Words at pixels."""
        self._parts.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text, quote=False)}</text>')

    def svg(self) -> str:
        """The whole chart."""
        left, bottom = 50, self._bottom
        head = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}"'
            ' font-family="sans-serif" font-size="12">',
            f'<rect width="{self.width}" height="{self.height}" fill="white"/>',
            f'<path d="M{left},{self.top} V{bottom} H{self.right}" fill="none" stroke="black"/>',
        ]
        ends = Chart(self.across, self.up, self.x, self.y)
        ends.text((left + self.right) / 2, self.height - 10, self.across, "middle")
        ends.text(self.right, bottom + 16, f"{self.x[1]:.3g}", "end")
        ends.text(left, bottom + 16, f"{self.x[0]:.3g}")
        ends.text(left - 6, self.top + 10, f"{self.y[1]:.3g}", "end")
        ends.text(left - 6, bottom, f"{self.y[0]:.3g}", "end")
        middle, up = -(self.top + bottom) / 2, escape(self.up, quote=False)
        turned = f'<text transform="rotate(-90)" x="{middle:g}" y="14" text-anchor="middle">{up}</text>'
        return "\n".join([*head, *ends._parts, turned, *self._parts, "</svg>"]) + "\n"

    @property
    def _bottom(self) -> int:
        return self.height - 44
