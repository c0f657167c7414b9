"""Captum's measures of attributions, and others, over the engine."""

from adcaptum.metrics._core.infidelity import infidelity, infidelity_perturb_func_decorator
from adcaptum.metrics._core.sensitivity import sensitivity_max

__all__ = ["infidelity", "infidelity_perturb_func_decorator", "sensitivity_max"]
