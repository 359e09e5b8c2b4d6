"""An OTLP/HTTP collector that decodes what it gets with the official Python types."""

import gzip
import time

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from double import Answer, HttpDouble


def attributes(pairs) -> dict:
    """Attributes as a plain dictionary."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


class Metric:
    """One metric of one export: its kind, unit and points by label set."""

    def __init__(self, metric):
        self.name = metric.name
        self.unit = metric.unit
        self.kind = metric.WhichOneof("data")
        data = getattr(metric, self.kind)
        self.monotonic = data.is_monotonic if self.kind == "sum" else None
        self.temporality = getattr(data, "aggregation_temporality", None)
        self.points = {frozenset(attributes(point.attributes).items()): point for point in data.data_points}
        assert len(self.points) == len(data.data_points), f"{self.name} has a label set twice"

    def total(self, **labels) -> float:
        """The sum over all points with these labels (of a histogram: of its counts)."""
        chosen = [point for key, point in self.points.items() if labels.items() <= dict(key).items()]
        return sum(self.value(point) for point in chosen)

    def value(self, point) -> float:
        return point.count if self.kind == "histogram" else getattr(point, point.WhichOneof("value"))


class Collector(HttpDouble):
    """Listens on a free port; `answer(number)` decides what becomes of request `number` (from 0)."""

    def __init__(self, answer=lambda number: 200):
        self.requests: list[ExportMetricsServiceRequest] = []
        self.headers: list[dict] = []
        self.refused = 0
        collector = self

        class Reply(Answer):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = answer(len(collector.requests) + collector.refused)
                if status == "hang":
                    collector.refused += 1
                    time.sleep(30)
                    return
                if status != 200:
                    collector.refused += 1
                    self.respond(status)
                    return
                if not self.path.endswith("/metrics"):
                    self.respond(200)
                    return
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                collector.requests.append(ExportMetricsServiceRequest.FromString(body))
                taken = ExportMetricsServiceResponse().SerializeToString()
                self.respond(200, "application/x-protobuf", taken)

        super().__init__(Reply)

    def exports(self) -> list[dict[str, Metric]]:
        """Every accepted export, oldest first, as metrics by name."""
        return [
            {metric.name: Metric(metric) for scope in group.scope_metrics for metric in scope.metrics}
            for request in list(self.requests)
            for group in request.resource_metrics
        ]

    def resource(self) -> dict:
        return attributes(self.requests[-1].resource_metrics[0].resource.attributes)
