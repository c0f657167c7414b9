"""Backward rules on operations: gradients of a batch by other rules than the chain rule.

`interception` is the mechanism, `operations` says what each operation is, and each rule is a file
of its own.
"""

from adcaptum.engine.rules.dispatch_table import DispatchTable
from adcaptum.engine.rules.interception import Handler, Interception, Rule, attach, depends
from adcaptum.engine.rules.pairs import Pairs

__all__ = ["DispatchTable", "Handler", "Interception", "Pairs", "Rule", "attach", "depends"]
