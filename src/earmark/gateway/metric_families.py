"""A gateway's counts in Prometheus' words."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from earmark.clock import NANOS_PER_SECOND
from earmark.gateway.metrics import GatewayMetrics

_BY_CALLER = ("token", "model")


def families(metrics: GatewayMetrics) -> list[Metric]:
    """Return the metrics of one process since its start; nothing is read from the books."""
    requests = CounterMetricFamily(
        "gateway_requests",
        "Requests that were answered, by what became of them",
        labels=(*_BY_CALLER, "outcome", "reason"),
    )
    for labels, count in metrics.requests.items():
        requests.add_metric(labels, count)
    settled = CounterMetricFamily(
        "gateway_settled_nano_usd",
        "What calls were booked at, in billionths of a US dollar, presumed cost included",
        labels=_BY_CALLER,
    )
    for pair, nanos in metrics.settled.items():
        settled.add_metric(pair, nanos)
    held = CounterMetricFamily(
        "gateway_held_seconds", "For how long ended calls were held for", labels=_BY_CALLER
    )
    for pair, nanos in metrics.held_ns.items():
        held.add_metric(pair, nanos / NANOS_PER_SECOND)
    streamed, streams, waiting = metrics.streamed_bytes, metrics.streams, metrics.waiting
    return [
        requests,
        settled,
        held,
        CounterMetricFamily("gateway_streamed_bytes", "Bytes of streams passed", value=streamed),
        GaugeMetricFamily("gateway_streams", "Streams that are passed on now", value=streams),
        GaugeMetricFamily("gateway_waiting_clients", "Requests without a hold yet", value=waiting),
    ]


def written(metrics: GatewayMetrics, accept: str) -> tuple[bytes, str]:
    """Return the metrics in the format that *accept* asks for, and its media type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_GatewayFamilies(families(metrics)))
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


class _GatewayFamilies(Collector):
    def __init__(self, collected: list[Metric]) -> None:
        self._collected = collected

    def collect(self) -> Iterator[Metric]:
        """Yield what was collected before."""
        yield from self._collected
