"""Prometheus' counters of a service: kinds, counts and times, nothing of what was said."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from mulmed.serving.admission import Admission
from mulmed.serving.observe import Finished

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts what :class:`mulmed.serving.observe.Finished` tells."""

    def __init__(self, admission: Admission) -> None:
        self._registry = registry = CollectorRegistry()
        kinds = ["endpoint", "task", "language"]
        self._requests = Counter(
            "mulmed_requests", "Requests that have ended.", [*kinds, "outcome"], registry=registry
        )
        self._tokens = Counter(
            "mulmed_tokens", "Tokens, as the model counts them.", ["of"], registry=registry
        )
        self._flags = Counter(
            "mulmed_red_flags",
            "Requests with a red flag of a kind.",
            ["category", "certainty"],
            registry=registry,
        )
        self._actions = Counter(
            "mulmed_policy_actions", "What the output policy did.", ["kind", "action"], registry=registry
        )
        self._masked = Counter("mulmed_masked", "Identifiers masked, by kind.", ["kind"], registry=registry)
        self._turned_away = Counter(
            "mulmed_turned_away",
            "Requests refused unread, for want of a place; not among mulmed_requests.",
            ["endpoint"],
            registry=registry,
        )
        self._times = {
            name: Histogram(f"mulmed_{name}_seconds", text, buckets=_SECONDS, registry=registry)
            for name, text in (
                ("queue", "Time in the queue."),
                ("first_text", "Time until the first text of the model was shown."),
                ("request", "Time of a request in all."),
            )
        }
        for name, text, value in (
            ("running", "Completions being computed.", lambda: admission.running),
            ("waiting", "Completions let in that wait.", lambda: admission.waiting),
        ):
            Gauge(f"mulmed_{name}", text, registry=registry).set_function(value)

    def __call__(self, finished: Finished) -> None:
        f = finished
        self._requests.labels(f.endpoint, f.task, f.language, f.outcome).inc()
        self._tokens.labels("prompt").inc(f.prompt_tokens)
        self._tokens.labels("completion").inc(f.completion_tokens)
        for category, certainty in f.flags.items():
            self._flags.labels(category, certainty).inc()
        for action, count in f.actions.items():
            self._actions.labels(*action.split(":")).inc(count)
        for kind, count in f.masked.items():
            self._masked.labels(kind).inc(count)
        self._times["request"].observe(f.seconds)
        if f.outcome != "refused":
            self._times["queue"].observe(f.waited)
        if f.first is not None:
            self._times["first_text"].observe(f.first)

    def turned_away(self, endpoint: str) -> None:
        """Count a request that was refused before it was read."""
        self._turned_away.labels(endpoint).inc()

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)
