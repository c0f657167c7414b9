"""Captum's attacks on models and measures of their robustness, over the engine."""

from adcaptum.robust.attack_comparator import AttackComparator
from adcaptum.robust.counterfactual import Counterfactual, Counterfactuals
from adcaptum.robust.fgsm import FGSM
from adcaptum.robust.min_param_perturbation import MinParamPerturbation
from adcaptum.robust.perturbation import Perturbation
from adcaptum.robust.pgd import PGD

__all__ = [
    "FGSM",
    "PGD",
    "AttackComparator",
    "Counterfactual",
    "Counterfactuals",
    "MinParamPerturbation",
    "Perturbation",
]
