"""Everything that outlives a request has a bound. A new cache or member is added here, with it."""

import ast
import functools
import gc
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import adcaptum.engine
import adcaptum.service

SERVICE = Path(adcaptum.service.__path__[0])

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
    "engine.vocabulary.parameters.describe": "classes of methods",
    "service.requests.targets._indices": "MOST_CACHED_INDICES numbers",
    "service.wire.method_specs._cached": "MOST_CACHED_BYTES of a message, and what it resolves to",
}
"""By name, the bound of an entry."""

MEMBERS = {
    "handlers/plans.py Explanation pieces": "of one request",
    "handlers/reading_lane.py ReadingLane _waiting": "MOST_WAITING requests",
    "handlers/request_metrics.py RequestMetrics _errors": "models, methods and kinds of errors",
    "handlers/request_metrics.py RequestMetrics _explanations": "models, methods and reasons",
    "handlers/request_metrics.py RequestMetrics _rows": "models and methods",
    "handlers/request_metrics.py RequestMetrics _times": "models and RPCs",
    "handlers/response_cache.py ResponseCache _answers": "cache_bytes and cache_entries",
    "handlers/shared_computation.py SharedComputation _seen": "of one computation",
    "handlers/shared_computation.py SharedComputation _waiters": "max_requests",
    "handlers/shared_computations.py SharedComputations _running": "max_requests",
    "logs.py RateLimit _buckets": "MOST_KINDS",
    "model_loader.py ModelLoader _prepared": "models",
    "models/catalogue.py Catalogue _found": "versions of models that exist",
    "models/layouts/choice.py _Choice _candidates": "of one trial",
    "models/layouts/choice.py _Choice _failures": "of one trial",
    "models/layouts/folding.py _Watch _kept": "of one trial",
    "models/layouts/folding.py _Watch _made": "of one trial",
    "models/layouts/folding.py _Watch users": "of one trial",
    "models/repository/toml_table.py TomlTable _known": "of one file",
    "models/row_forecasts.py RowForecasts _logs": "methods and powers of two of tolerances",
    "rpc/interceptors.py Interceptor _durations": "models, RPCs and codes",
    "rpc/interceptors.py Interceptor _handlers": "methods that exist",
    "rpc/interceptors.py Interceptor _tasks": "max_requests",
    "runtime/batch_metrics.py BatchMetrics _children": "models and kinds",
    "runtime/dispatcher.py Dispatcher _light_models": "models",
    "runtime/dispatcher.py Dispatcher _stuck": "models",
    "runtime/engine_core.py EngineCore _arrived": "max_requests",
    "runtime/engine_core.py EngineCore _stops": "max_requests",
    "runtime/engine_core.py EngineCore running": "max_requests",
    "runtime/engine_runner.py EngineRunner works": "max_requests",
    "runtime/equal_rows.py EqualRowsByModel _duplicates": "models and kinds",
    "runtime/loop_runner.py LoopRunner _banned": "models",
    "runtime/pace.py Pace _ended": "threads",
    "runtime/planning_threads.py PlanningThreads _ready": "max_requests",
    "runtime/planning_threads.py PlanningThreads _tasks": "max_requests",
    "runtime/planning_threads.py PlanningThreads _threads": "threads",
    "runtime/thread_runner.py ThreadRunner _outdated": "threads",
    "runtime/thread_runner.py ThreadRunner _replaced": "threads",
    "runtime/thread_runner.py ThreadRunner _threads": "threads",
    "runtime/work.py Work results": "of one request",
    "runtime/work.py Work running": "of one request",
}
"""By file, class and name, the bound of a collection that grows while a server runs."""

COLLECTIONS = {"dict", "list", "set", "deque", "defaultdict", "OrderedDict", "WeakKeyDictionary"}


def grows(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Dict | ast.List | ast.Set):
        return True
    return isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] in COLLECTIONS


def members(path: Path) -> Iterator[str]:
    for each in ast.walk(ast.parse(path.read_text())):
        if not isinstance(each, ast.ClassDef):
            continue
        for node in ast.walk(each):
            if not isinstance(node, ast.Assign | ast.AnnAssign) or not grows(node.value):
                continue
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                yield f"{path.relative_to(SERVICE)} {each.name} {target.attr}"


def test_every_collection_that_a_server_holds_has_a_bound() -> None:
    found = {each for path in SERVICE.rglob("*.py") for each in members(path)}
    assert found == MEMBERS.keys()


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
    endless = [name for name, each in caches.items() if each.cache_parameters()["maxsize"] is None]
    assert endless == ["engine.vocabulary.parameters.describe"]
