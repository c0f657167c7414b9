"""The showcase: what serves, as the engines, health, metrics and the log know it."""

from collections.abc import Mapping
from contextlib import suppress

from adcaptum.service import logs
from adcaptum.service.hosting.stages import TooSlow
from adcaptum.service.hosting.version_loader import Prepared
from adcaptum.service.metrics import Metrics
from adcaptum.service.models import curves as model_curves
from adcaptum.service.models.catalogue.entry import Entry, State
from adcaptum.service.models.curves import Curve
from adcaptum.service.models.declaration import DeclarationError
from adcaptum.service.models.failure_reason import failure_reason
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.rpc.health import Health
from adcaptum.service.runtime.dispatcher import Dispatcher


class Showcase:
    """The notices of what serves and what does not."""

    def __init__(self, engines: Dispatcher, metrics: Metrics, health: Health) -> None:
        """Prepares it.

        Args:
            engines: What runs the models.
            metrics: Where they are counted.
            health: Where they serve.
        """
        self._engines = engines
        self._metrics = metrics
        self._health = health
        self._costs: dict[ServedModel, Curve] = {}

    @property
    def costs(self) -> Mapping[ServedModel, Curve]:
        """The seconds of the dearest batches of each version that serves."""
        return self._costs

    async def begin(self, name: str) -> None:
        """Shows a model of which nothing is loaded yet."""
        await self._health.set_model(name, serving=False)

    async def show(self, entry: Entry, old: Mapping[str, ServedModel]) -> None:
        """Shows what serves of a model from now on.

        Args:
            entry: The model.
            old: The versions that served before and do not serve any more, or not as they were.
        """
        ready = self._metrics.model_ready
        for served in old.values():
            self._costs.pop(served, None)
        for version in ("", *old):
            with suppress(KeyError):
                ready.remove(entry.name, version)
        for version in entry.served:
            ready.labels(entry.name, version).set(1)
        unread = [""] if entry.state is State.FAILED and not entry.failures else []
        for version in (*unread, *entry.failures):
            ready.labels(entry.name, version).set(0)
        # A health check names no version.
        await self._health.set_model(entry.name, serving=entry.default_version in entry.served)

    async def remove(self, name: str) -> None:
        """Shows a model no more."""
        await self._health.remove_model(name)

    def took(self, name: str, seconds: float) -> None:
        """Shows how long a model took to load."""
        self._metrics.model_load_seconds.labels(name).set(seconds)

    def failed(self, name: str, version: str, error: Exception) -> str:
        """Logs that a model, or one version of it, does not load; returns the reason."""
        reason = failure_reason(error)
        # A stack trace helps where code failed, and hides the message of a declaration error.
        traced = not isinstance(error, DeclarationError | TooSlow)
        logs.logger().error(
            "a model does not load",
            model=name,
            version=version,
            reason=reason,
            exc_info=error if traced else None,
        )
        self._metrics.model_load_failures.labels(name, version).inc()
        return reason

    def loaded(self, prepared: Prepared, seconds: float) -> None:
        """Gives a version to the engines, and logs it."""
        served, curves = prepared.served, prepared.curves
        self._engines.add(served, curves, prepared.memory)
        self._costs[served] = curves.get("gradient") or curves["forward"]
        variant = served.variant
        logs.logger().info(
            "loaded",
            model=served.name,
            version=served.identity.version,
            digest=served.loaded.digest,
            seconds=round(seconds, 3),
            independent=served.checks.independent,
            dependence=served.checks.dependence,
            differentiable=served.checks.differentiable,
            obstacle=served.checks.obstacle,
            variant=variant.name,
            variant_distance=variant.distance._asdict(),
            variant_rounding=variant.trials.rounding._asdict(),
            variant_rows_per_second=dict(variant.trials.rows_per_second),
            variant_failures=dict(variant.trials.failures),
            light=self._engines.is_light(served),
            row_seconds={kind: model_curves.row_seconds(curve) for kind, curve in curves.items()},
            batch_rows={kind: model_curves.best_rows(curve) for kind, curve in curves.items()},
        )
