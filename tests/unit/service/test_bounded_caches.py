"""Every cache of functions has a bound; containers are in `test_what_outlives_requests`."""

import functools
import gc
import importlib
import pkgutil

import adcaptum.engine
import adcaptum.service

CACHES = {
    "engine.methods.layers.conductance._points": "10,000 points of 8 bytes",
    "engine.methods.paths.quadrature.nodes_and_weights": "10,000 nodes of 16 bytes",
    "engine.methods.paths.quadrature.nodes_with_ends": "10,000 nodes of 16 bytes",
    "engine.methods.shapley.pair_plan._remembered_plan": "5 MB",
    "engine.methods.shapley.pair_plan._remembered_sample": "half a megabyte",
    "engine.rows.distinct._directions": "a few rows of a model's features",
    "engine.rules.lrp.affine_rules._number": "numbers",
    "engine.rules.lrp.composites.composite": "names",
    "engine.rules.lrp.propagation._facts": "functions of PyTorch",
    "engine.sampling.replicates._kept_signs": "half a megabyte",
    "engine.vocabulary.parameters._own": "classes of methods",
    "engine.vocabulary.parameters.describe": "classes of methods",
    "service.answers.explanations._head": "an index and a label",
    "service.answers.explanations.attribution_begin": "a name and a shape",
    "service.answers.results.end": "numbers",
    "service.protocols.protojson.reader._fields": "names of fields of messages that exist",
    "service.wire.field_writer.begin": "a few bytes",
    "service.wire.field_writer.varint": "a few bytes",
    "service.wire.method_specs._cached": "MOST_CACHED_BYTES of a message, and what it resolves to",
}
"""By name, the bound of an entry."""


def test_every_cache_has_a_bound() -> None:
    for package in (adcaptum.engine, adcaptum.service):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__") and ".cli" not in module.name:
                importlib.import_module(module.name)
    caches = {
        f"{each.__module__.removeprefix('adcaptum.')}.{each.__qualname__}": each
        for each in gc.get_objects()
        if type(each) is functools._lru_cache_wrapper
        and str(getattr(each, "__module__", "")).startswith(("adcaptum.engine", "adcaptum.service"))
    }
    assert caches.keys() == CACHES.keys()
    endless = sorted(
        name for name, each in caches.items() if each.cache_parameters()["maxsize"] is None
    )
    assert endless == [
        "engine.vocabulary.parameters._own",
        "engine.vocabulary.parameters.describe",
    ]
