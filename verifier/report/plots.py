"""Plots of what is public: thresholds with disclosed values, distributions that disclosed values pin down, scales.

Measured values that were not disclosed are not known here and cannot be drawn.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from circuits.checks.disclosed import Disclosure, decimal_text
from circuits.manifest import Manifest
from verifier.attestation.predicate import Claim
from verifier.report.axis import Axis, Tick, pixels
from verifier.report.text import clip, plural, short

WIDTH, MARGIN = 480, 10
ROW, TOP = 42, 6
MAX_PLOTS, MAX_ROWS, MAX_TABLE = 60, 24, 500
_NOT_SCOPE = {"version", "tensors", "over", "disclose", "count"}
"""Parameters that say which tensors a statistic is about, not which statistic it is."""

_LARGEST = Fraction(2**16 + 1, 2)
"""|w| in units of 2^-F is at most this: |t| <= 2^15, and rounding."""


@dataclass(frozen=True)
class Row:
    """One line of a plot: a label, what it says in words, and where things are, in pixels.

    Attributes:
        band: (start, width) of what is allowed, or of a bar.
        limits: thresholds.
        dot: the disclosed value of the committed integers.
        bracket: (start, width) of the bracket that the real weights lie in.
    """

    y: int
    label: str
    amount: str
    band: tuple[str, str] | None = None
    limits: tuple[str, ...] = ()
    dot: str | None = None
    bracket: tuple[str, str] | None = None


@dataclass(frozen=True)
class Rows:
    """A plot of lines below each other over one axis. `table` says the same in full."""

    title: str
    caption: str
    description: str
    rows: tuple[Row, ...]
    more: int
    ticks: tuple[Tick, ...]
    table: tuple[tuple[str, str], ...]
    table_more: int
    kind: str = "rows"

    @property
    def height(self) -> int:
        return TOP + ROW * len(self.rows) + 26

    @property
    def base(self) -> int:
        """Where the axis is."""
        return TOP + ROW * len(self.rows) + 2


@dataclass(frozen=True)
class Curve:
    """Points of the distribution function of |w|, and the boxes that it must pass through."""

    title: str
    caption: str
    description: str
    points: tuple[tuple[str, str], ...]
    boxes: tuple[tuple[str, str, str, str], ...]
    ticks: tuple[Tick, ...]
    shares: tuple[Tick, ...]
    table: tuple[tuple[str, str], ...]
    table_more: int = 0
    more: int = 0
    kind: str = "curve"
    height: int = 250
    base: int = 222


@dataclass
class _Subject:
    """Tensors, and what a metric is allowed to be and is said to be there."""

    at_least: tuple[Fraction, str] | None = None
    at_most: tuple[Fraction, str] | None = None
    value: Disclosure | None = None
    pattern: str = ""

    def tighten(self, claim: Claim) -> None:
        text = claim.threshold or ""
        limit = Fraction(text)
        if claim.comparator == "<=" and (self.at_most is None or limit < self.at_most[0]):
            self.at_most = limit, text
        if claim.comparator == ">=" and (self.at_least is None or limit > self.at_least[0]):
            self.at_least = limit, text

    @property
    def numbers(self) -> Iterator[Fraction]:
        for limit in (self.at_least, self.at_most):
            if limit is not None:
                yield limit[0]
        if self.value is not None:
            yield from (x for x in (self.value.low, self.value.value, self.value.high) if x is not None)

    @property
    def amount(self) -> str:
        """In a few words."""
        value = self.value
        parts = []
        if value is not None and value.value is not None:
            parts.append(decimal_text(value.value))
        elif value is not None and value.low is not None and value.high is not None:
            parts.append(f"{decimal_text(value.low, -1)} to {decimal_text(value.high, 1)}")
        parts.extend(f"≥ {clip(limit[1], 14)}" for limit in [self.at_least] if limit)
        parts.extend(f"≤ {clip(limit[1], 14)}" for limit in [self.at_most] if limit)
        return ", ".join(parts)

    @property
    def words(self) -> str:
        """In full."""
        parts = [f"at least {limit[1]}" for limit in [self.at_least] if limit]
        parts += [f"at most {limit[1]}" for limit in [self.at_most] if limit]
        if self.value is not None:
            parts.append(f"disclosed: {self.value.amount}")
        return "; ".join(parts)


@dataclass
class _Metric:
    name: str
    subjects: dict[str, _Subject] = field(default_factory=dict)

    def subject(self, label: str) -> _Subject:
        return self.subjects.setdefault(label, _Subject())

    @property
    def only_points(self) -> bool:
        """Whether there is nothing but disclosed points of distributions, which a curve shows together."""
        values = [subject.value for subject in self.subjects.values()]
        limited = any(subject.at_least or subject.at_most for subject in self.subjects.values())
        return not limited and all(value is not None and _point(value) is not None for value in values)


def plots(claims: Sequence[Claim], disclosures: Sequence[Disclosure], manifest: Manifest | None) -> list[Rows | Curve]:
    """The plots of a report, in the order of the claims; at most 60."""
    metrics: dict[str, _Metric] = {}
    for claim in claims:
        if claim.threshold is not None and claim.passed:
            metric = metrics.setdefault(name := _name(claim), _Metric(name))
            for label in claim.about or (claim.metric,):
                subject = metric.subject(label)
                subject.tighten(claim)
                subject.pattern = str(claim.parameters.get("tensors", ""))
    for one in disclosures:
        metrics.setdefault(one.name, _Metric(one.name)).subject(one.label).value = one
    curves = dict(_curves(disclosures))
    for name, metric in list(metrics.items()):
        if metric.only_points and set(metric.subjects) <= set(curves):
            del metrics[name]
    found: list[Rows | Curve] = [*map(_ranges, metrics.values()), *curves.values()]
    found = found[: MAX_PLOTS - 1]
    return found if manifest is None else [*found, _scales(manifest)]


def _name(claim: Claim) -> str:
    """The metric with its parameters, as `Disclosure.name` writes it."""
    scope = {key: value for key, value in sorted(claim.parameters.items()) if key not in _NOT_SCOPE}
    plain = {
        key: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for key, value in scope.items()
    }
    text = ", ".join(f"{key} {value}" for key, value in plain.items())
    return clip(f"{claim.metric} ({text})" if text else claim.metric, 200)


def _ranges(metric: _Metric) -> Rows:
    subjects = list(_together(metric.subjects))
    shown = subjects[:MAX_ROWS]
    numbers = [number for _, subject in shown for number in subject.numbers]
    axis = Axis.around(numbers or [Fraction(1)], MARGIN, WIDTH - MARGIN)
    rows = tuple(_row(TOP + ROW * place, label, subject, axis) for place, (label, subject) in enumerate(shown))
    table = tuple((clip(label, 300), clip(subject.words, 400)) for label, subject in subjects[:MAX_TABLE])
    known = any(subject.value is not None for subject in metric.subjects.values())
    limited = any(subject.at_least or subject.at_most for subject in metric.subjects.values())
    what = " and ".join(filter(None, ("thresholds" if limited else "", "disclosed values" if known else "")))
    return Rows(
        f"{metric.name}: {what}",
        _caption(known, limited, axis.logarithmic),
        clip("; ".join(f"{label}: {words}" for label, words in table), 1_500),
        rows,
        len(subjects) - len(shown),
        axis.ticks(),
        table,
        max(0, len(subjects) - MAX_TABLE),
    )


def _caption(known: bool, limited: bool, logarithmic: bool) -> str:
    parts = ["Shaded: what was shown to hold; lines: the thresholds." if limited else ""]
    parts.append(
        "Dots: the disclosed values; bars: where rounding lets those of the real weights lie."
        if known
        else "The measured values are private: they lie somewhere in the shaded part."
    )
    parts.append("Logarithmic axis." if logarithmic else "")
    return " ".join(filter(None, parts))


def _together(subjects: dict[str, _Subject]) -> Iterator[tuple[str, _Subject]]:
    """Tensors with the same thresholds and nothing disclosed are one line; the others have their own."""
    alike: dict[tuple[object, object, str], list[str]] = {}
    for label, subject in subjects.items():
        if subject.value is None:
            alike.setdefault((subject.at_least, subject.at_most, subject.pattern), []).append(label)
        else:
            yield label, subject
    for labels in alike.values():
        subject = subjects[labels[0]]
        label = labels[0] if len(labels) == 1 else f"{plural(len(labels), 'tensor')}, {subject.pattern or labels[0]}"
        yield label, subject


def _row(y: int, label: str, subject: _Subject, axis: Axis) -> Row:
    value = subject.value
    band = dot = bracket = None
    if subject.at_least or subject.at_most:
        start = axis.at(subject.at_least[0]) if subject.at_least else pixels(axis.start)
        stop = axis.at(subject.at_most[0]) if subject.at_most else pixels(axis.stop)
        band = start, _width(start, stop)
    if value is not None and value.value is not None:
        dot = axis.at(value.value)
    if value is not None and value.low is not None and value.high is not None:
        start, stop = axis.at(value.low), axis.at(value.high)
        bracket = start, _width(start, stop)
    limits = tuple(axis.at(limit[0]) for limit in (subject.at_least, subject.at_most) if limit)
    amount = short(subject.amount, 34)
    return Row(y, short(label, 62 - len(amount) * 6 // 5), amount, band, limits, dot, bracket)


def _width(start: str, stop: str) -> str:
    return pixels(max(Fraction(0), Fraction(stop) - Fraction(start)))


def _curves(disclosures: Iterable[Disclosure]) -> Iterator[tuple[str, Curve]]:
    """What disclosed maxima, quantiles and shares say about the distribution of |w|, by label."""
    points: dict[str, set[tuple[Fraction, Fraction, Fraction, Fraction]]] = {}
    for one in disclosures:
        if (point := _point(one)) is not None:
            points.setdefault(one.label, set()).add(point)
    for label, found in points.items():
        if len(found) > 1:
            yield label, _curve(label, sorted(found, key=lambda point: (point[0] + point[1], point[2] + point[3])))


def _point(one: Disclosure) -> tuple[Fraction, Fraction, Fraction, Fraction] | None:
    """|w| from, to; share of the weights up to there from, to."""
    if one.low is None or one.high is None:
        return None
    parameters = dict(one.parameters)
    match one.metric:
        case "max-abs":
            return one.low, one.high, Fraction(1), Fraction(1)
        case "quantile":
            return one.low, one.high, Fraction(parameters["level"]), Fraction(parameters["level"])
        case "sparsity":
            return Fraction(parameters["tau"]), Fraction(parameters["tau"]), one.low, one.high
        case "outlier-fraction":
            return Fraction(parameters["tau"]), Fraction(parameters["tau"]), 1 - one.high, 1 - one.low
    return None


def _curve(label: str, points: list[tuple[Fraction, Fraction, Fraction, Fraction]]) -> Curve:
    axis = Axis.around([place for point in points for place in point[:2]], 46, WIDTH - MARGIN)
    share = Axis(Fraction(0), Fraction(1), 222, 12)
    boxes = []
    for before, after in pairwise([(Fraction(0),) * 4, *points]):
        left, right, low, high = axis.at(before[0]), axis.at(after[1]), share.at(before[2]), share.at(after[3])
        boxes.append((left, high, _width(left, right), _width(high, low)))
    middle = tuple((axis.at((a + b) / 2), share.at((c + d) / 2)) for a, b, c, d in points)
    table = tuple((f"|w| up to {_span(a, b)}", f"{_span(c, d)} of the weights") for a, b, c, d in points[:MAX_TABLE])
    return Curve(
        f"Distribution of |w| in {clip(label, 120)}, as far as it is disclosed",
        "Dots: disclosed quantiles, shares and maxima. The share of weights up to |w| rises through the shaded boxes;"
        f" where in them is private.{' Logarithmic axis.' if axis.logarithmic else ''}",
        clip("; ".join(f"{a}: {b}" for a, b in table), 1_500),
        middle,
        tuple(boxes),
        axis.ticks(),
        tuple(Tick(share.at(Fraction(k, 4)), decimal_text(Fraction(k, 4)), "end") for k in range(5)),
        table,
        max(0, len(points) - MAX_TABLE),
    )


def _span(low: Fraction, high: Fraction) -> str:
    return f"{decimal_text(low, -1)} to {decimal_text(high, 1)}" if low < high else decimal_text(low)


def _scales(manifest: Manifest) -> Rows:
    """The public histogram of every commitment: weights by the bound that their scale puts on them."""
    groups: dict[int, tuple[int, int]] = {}
    for tensor in manifest.tensors:
        tensors, weights = groups.get(tensor.scale, (0, 0))
        groups[tensor.scale] = tensors + 1, weights + tensor.entries
    ordered = sorted(groups.items(), reverse=True)
    shown = ordered[:MAX_ROWS]
    axis = Axis.around([Fraction(0), *(Fraction(weights) for _, (_, weights) in shown)], MARGIN, WIDTH - MARGIN)
    bounds = {scale: decimal_text(_LARGEST / Fraction(2) ** scale, 1) for scale in groups}
    table = tuple(
        (f"|w| at most {bounds[scale]} (F = {scale}), {plural(tensors, 'tensor')}", plural(weights, "weight"))
        for scale, (tensors, weights) in ordered
    )
    rows = []
    for place, (label, amount) in enumerate(table[:MAX_ROWS]):
        end = axis.at(Fraction(shown[place][1][1]))
        rows.append(Row(TOP + ROW * place, label, amount, (pixels(MARGIN), _width(pixels(MARGIN), end))))
    return Rows(
        "Weights by scale: how large they can be, from the public commitment",
        "Committed integers have 16 bits: a tensor of scale F has weights of at most (2^15 + 1/2) 2^-F in magnitude.",
        "; ".join(f"{label}: {amount}" for label, amount in table),
        tuple(rows),
        len(ordered) - len(shown),
        axis.ticks(),
        table,
        0,
    )
