"""Captum's stochastic gates: layers that learn which features a model needs."""

from adcaptum.module.binary_concrete_stochastic_gates import BinaryConcreteStochasticGates
from adcaptum.module.gaussian_stochastic_gates import GaussianStochasticGates
from adcaptum.module.stochastic_gates_base import StochasticGatesBase

__all__ = ["BinaryConcreteStochasticGates", "GaussianStochasticGates", "StochasticGatesBase"]
