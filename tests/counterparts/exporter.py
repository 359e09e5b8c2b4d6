"""The way that metrics take through a collector: OTLP in, the text that Prometheus scrapes out.

The translation is that of the official Prometheus exporter for Python, which appends the unit and `_total` to
names by the rules of the collector's exporter. `job` and `instance` are added as the collector adds them.
"""

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry, generate_latest

from collector import Collector, attributes
from double import Answer, HttpDouble


class Exporter(HttpDouble):
    """Serves under `/metrics` what the collector was sent last."""

    def __init__(self, collector: Collector):
        self.collector = collector
        self.scrapes = 0
        exporter = self

        class Reply(Answer):
            def do_GET(self):
                body = exporter.text()
                exporter.scrapes += 1
                self.respond(200, "text/plain; version=0.0.4; charset=utf-8", body)

        super().__init__(Reply)

    def text(self) -> bytes:
        if not self.collector.requests:
            return b""
        registry = CollectorRegistry()
        reader = PrometheusMetricReader(registry=registry, disable_target_info=True)
        # What a MeterProvider does with its readers.
        reader._set_collect_callback(lambda *_, **__: metrics_data(self.collector.requests[-1]))
        return generate_latest(registry)


def metrics_data(request) -> MetricsData:
    """An OTLP export as the SDK has it in memory."""
    return MetricsData([resource_metrics(group) for group in request.resource_metrics])


def resource_metrics(group) -> ResourceMetrics:
    resource = attributes(group.resource.attributes)
    namespace = resource.get("service.namespace")
    origin = {
        "job": f"{namespace}/{resource['service.name']}" if namespace else resource["service.name"],
        "instance": resource["service.instance.id"],
    }
    scopes = [
        ScopeMetrics(
            InstrumentationScope(scope.scope.name, scope.scope.version),
            [Metric(one.name, one.description, one.unit, data(one, origin)) for one in scope.metrics],
            scope.schema_url,
        )
        for scope in group.scope_metrics
    ]
    return ResourceMetrics(Resource(resource), scopes, group.schema_url)


def data(metric, origin: dict):
    kind = metric.WhichOneof("data")
    message = getattr(metric, kind)
    points = [point_of(point, kind, origin) for point in message.data_points]
    if kind == "gauge":
        return Gauge(points)
    temporality = AggregationTemporality(message.aggregation_temporality)
    if kind == "sum":
        return Sum(points, temporality, message.is_monotonic)
    assert kind == "histogram", f"{metric.name} is of the kind {kind}"
    return Histogram(points, temporality)


def point_of(point, kind: str, origin: dict):
    labels = attributes(point.attributes) | origin
    times = (point.start_time_unix_nano, point.time_unix_nano)
    if kind != "histogram":
        return NumberDataPoint(labels, *times, getattr(point, point.WhichOneof("value")))
    bounds, counts = list(point.explicit_bounds), list(point.bucket_counts)
    return HistogramDataPoint(labels, *times, point.count, point.sum, counts, bounds, point.min, point.max)
