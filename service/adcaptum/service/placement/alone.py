"""The placement of models in a server of one process."""

from collections.abc import Mapping

from adcaptum.service import logs
from adcaptum.service.placement.capacities import capacities
from adcaptum.service.placement.plan import Capacity, plan
from adcaptum.service.placement.stored import demands
from adcaptum.service.settings import Settings


def unplaced(settings: Settings) -> Mapping[str, str]:
    """Returns the reason of each model for which one process has no place, and logs it."""
    device = settings.device
    # Of the memory of other devices it knows nothing: all models fit.
    own = capacities(settings, [device]) if device == "cpu" else [Capacity("0", device)]
    found = plan(demands(settings.repository), own).unplaced
    for name, reason in found.items():
        logs.logger().error("a model has no place", model=name, reason=reason)
    return found
