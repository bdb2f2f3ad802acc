"""Counts for Prometheus, in its text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).

Labels have few values by construction: routes are templates, models are those that are served.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the histogram's buckets, in seconds; what is slower is in the last one."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Sample = tuple[Mapping[str, str], float]
Gauge = tuple[str, str, list[Sample]]
"""What is measured now: its name, what it is, values with their labels."""


class Metrics:
    """What was answered since the start."""

    def __init__(self) -> None:
        self.requests, self.tokens = Counter[tuple[str, int]](), Counter[str]()
        self.buckets, self.sums = dict[str, list[int]](), defaultdict[str, float](float)

    def count(self, route: str, status: int, seconds: float, read: int, written: int) -> None:
        """A request has ended."""
        self.requests[route, status] += 1
        self.tokens["read"] += read
        self.tokens["written"] += written
        self.buckets.setdefault(route, [0] * (len(BOUNDS) + 1))[bisect_left(BOUNDS, seconds)] += 1
        self.sums[route] += seconds

    def text(self, gauges: Iterable[Gauge]) -> str:
        """All of it, with what is measured now."""
        counts = [({"route": route, "status": str(status)}, n) for (route, status), n in sorted(self.requests.items())]
        tokens = [({"direction": way}, n) for way, n in sorted(self.tokens.items())]
        lines = [
            *_family("requests_total", "counter", "Requests answered.", counts),
            *self._seconds(),
            *_family("tokens_total", "counter", "Tokens read and written.", tokens),
        ]
        for name, what, values in gauges:
            lines += _family(name, "gauge", what, values)
        return "\n".join(lines) + "\n"

    def _seconds(self) -> Iterator[str]:
        name = "pretune_request_seconds"
        yield f"# HELP {name} Time from a request to the end of its answer."
        yield f"# TYPE {name} histogram"
        for route, numbers in sorted(self.buckets.items()):
            for bound, number in zip((*BOUNDS, "+Inf"), accumulate(numbers), strict=True):
                yield f"{name}_bucket{_labels({'route': route, 'le': str(bound)})} {number}"
            yield f"{name}_sum{_labels({'route': route})} {self.sums[route]}"
            yield f"{name}_count{_labels({'route': route})} {sum(numbers)}"


def _family(name: str, kind: str, what: str, values: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP pretune_{name} {what}"
    yield f"# TYPE pretune_{name} {kind}"
    for labels, value in values:
        yield f"pretune_{name}{_labels(labels)} {value}"


def _labels(labels: Mapping[str, str]) -> str:
    told = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{told}}}" if told else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
