"""What the service measures of itself, through Ray's metrics: Prometheus reads them from each node."""

from __future__ import annotations

from ray.serve import metrics

_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
# Ray takes the middle of a bucket for the value in it: so counts are in the middle.
_SIZES = [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 15.5, 16.5, 31.5, 32.5]


class GatewayMetrics:
    """Implements `art2real.serving.metrics.Metrics`; Ray adds the names of deployment and replica."""

    def __init__(self) -> None:
        self._requests = metrics.Counter(
            "art2real_requests", "Requests answered.", tag_keys=("route", "method", "status")
        )
        self._seconds = metrics.Histogram(
            "art2real_request_seconds",
            "Time from request to answer.",
            boundaries=_SECONDS,
            tag_keys=("route",),
        )
        self._stages = metrics.Histogram(
            "art2real_stage_seconds", "Time of each stage.", boundaries=_SECONDS, tag_keys=("stage",)
        )
        self._waiting = metrics.Gauge("art2real_admitted", "Requests that are being worked on or wait.")

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        self._requests.inc(tags={"route": route, "method": method, "status": str(status)})
        self._seconds.observe(seconds, tags={"route": route})

    def stage(self, name: str, seconds: float) -> None:
        self._stages.observe(seconds, tags={"stage": name})

    def waiting(self, count: int) -> None:
        self._waiting.set(count)


class ModelMetrics:
    """Of the deployment that holds the models."""

    def __init__(self) -> None:
        self._size = metrics.Histogram(
            "art2real_batch_size", "Pictures translated in one pass.", boundaries=_SIZES, tag_keys=("model",)
        )
        self._seconds = metrics.Histogram(
            "art2real_batch_seconds", "Time of one pass.", boundaries=_SECONDS, tag_keys=("model",)
        )
        self._outdated = metrics.Gauge(
            "art2real_models_outdated", "1: the models that were asked for last could not be loaded."
        )

    def batch(self, model: str, pictures: int, seconds: float) -> None:
        self._size.observe(pictures, tags={"model": model})
        self._seconds.observe(seconds, tags={"model": model})

    def outdated(self, are: bool) -> None:
        self._outdated.set(float(are))
