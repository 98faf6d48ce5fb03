"""Numbers on the service, as Prometheus reads them. None tells anything of a picture."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from upres.service.desk import Desk, Ticket

CONTENT_TYPE_METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The counts of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.refused = Counter(
            "upres_refused", "Requests that were refused", ["code"], registry=self._registry
        )
        self._ended = Counter(
            "upres_ended", "Pictures by how they ended", ["end"], registry=self._registry
        )
        self._pixels = Counter("upres_pixels", "Pixels of results", registry=self._registry)
        self._seconds = Histogram(
            "upres_seconds",
            "Seconds that enlarging took",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            registry=self._registry,
        )

    def watch(self, desk: Desk) -> None:
        """Tell of a desk's line, too."""
        gauges = {
            "waiting": ("Requests that upload or wait", lambda: desk.line.waiting),
            "running": ("Requests that are worked on", lambda: desk.line.running),
            "planned_bytes": ("Memory by the plans of these", lambda: desk.line.memory_used),
            "jobs": ("Jobs that are not forgotten", lambda: len(desk.jobs)),
        }
        for name, (about, value) in gauges.items():
            Gauge(f"upres_{name}", about, registry=self._registry).set_function(value)

    def ended(self, ticket: Ticket) -> None:
        """Count how a request ended."""
        end = "done" if ticket.result else ticket.problem.code if ticket.problem else "cancelled"
        self._ended.labels(end).inc()
        if ticket.result:
            self._seconds.observe(ticket.result.seconds)
            self._pixels.inc(ticket.result.width * ticket.result.height)

    def text(self) -> bytes:
        """All of them."""
        return generate_latest(self._registry)
