"""Every container and cache of the service is on a reviewed list, with what bounds it.

What callers can fill for ever ends a server. A new member has to be put on the list, by whoever has
thought of what bounds it, in bytes where callers choose the size of what goes in.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import adcaptum.service.server

ROOT = Path(adcaptum.service.server.__file__).parent
CONTAINERS = {
    "Counter", "OrderedDict", "WeakKeyDictionary", "WeakSet", "WeakValueDictionary", "defaultdict",
    "deque", "dict", "list", "set",
}  # fmt: skip
CACHES = {"cache", "cached", "lru_cache"}

A_REQUEST = "lives as long as one request, whose bytes max_queue_bytes bounds"
LOADING = "lives while a model loads"
MODELS = "one entry a model, or a model and a kind of rows: the operator's number"
UNDER_WAY = "the requests under way: max_requests and max_queue_bytes"
LABELS = "names of models, methods and codes that exist, never a caller's words"
QUESTIONS = "one entry a question: those kept, MOST_BYTES of questions.py, and those under way"
THREADS = "the threads of this process: 2 and 16 that replace stuck ones, at most 66 in all"
FRONTS = "the front processes: the operator's number, at most 64"
CREDENTIALS = "the file of credentials: MOST_BYTES of credentials.py"
WORKERS = "the worker processes: the operator's number, at most 64"
REVIEWED = MappingProxyType(
    {
        "answers.answer_form.AnswerForm.frames": "MOST_FRAMES a question",
        "answers.answer_form._KNOWN": QUESTIONS,
        "answers.explanations.PieceWriter._attributions": A_REQUEST,
        "answers.explanations._head": "MOST_FORMS of places and labels of outputs",
        "answers.explanations.attribution_begin": "MOST_FORMS of the names and shapes of inputs",
        "answers.model_parts._KNOWN": MODELS,
        "answers.outcome.Outcome.failures": A_REQUEST,
        "answers.piece_numbers.PieceNumbers.error": A_REQUEST,
        "answers.piece_numbers.PieceNumbers.errors": A_REQUEST,
        "answers.piece_numbers.PieceNumbers.outputs": A_REQUEST,
        "answers.piece_numbers.PieceNumbers.values": A_REQUEST,
        "answers.results.end": "MOST_ENDS of a few numbers and names of operations",
        "front.costs.Costs._known": "MOST numbers by digests and names of 128 bytes at most",
        "front.following.followers.Followers._connections": FRONTS,
        "front.following.followers.Followers._deaths": "MOST_DEATHS",
        "front.fleet.fleet_lifecycle.FleetLifecycle._changing": MODELS,
        "front.fleet.fleet_lifecycle.FleetLifecycle._loads": MODELS,
        "front.following.followers.Followers._asked": UNDER_WAY,
        "front.following.remote_changes.RemoteChanges._waiting": UNDER_WAY,
        "front.following.remote_restarts.RemoteRestarts._waiting": UNDER_WAY,
        "front.following.followers.Followers._tasks": FRONTS,
        "front.following.followers.Followers.slots": FRONTS,
        "front.following.mirror.Mirror._closing": WORKERS,
        "front.following.mirror.Mirror._processes": WORKERS,
        "front.following.mirror.Mirror.quarantined": MODELS,
        "front.following.mirror.Mirror.slots": WORKERS,
        "front.gate.Gate._shown": MODELS,
        "front.gate.Gate.models": MODELS,
        "front.gathered_metrics.Family.head": LABELS,
        "front.gathered_metrics.Family.samples": LABELS,
        "front.gathered_metrics.GatheredMetrics._fronts": FRONTS,
        "front.gathered_metrics.GatheredMetrics._workers": WORKERS,
        "front.gathered_metrics.SourceMetrics._before": LABELS,
        "front.gathered_metrics.SourceMetrics._families": LABELS,
        "front.metrics.FrontMetrics.quarantined": LABELS,
        "front.metrics.FrontMetrics.rejected": LABELS,
        "front.metrics.FrontMetrics.retried": LABELS,
        "front.metrics.FrontMetrics.worker_deaths": LABELS,
        "front.passage.Passage.lost": "MOST_ATTEMPTS and MOST_REFUSALS",
        "front.quarantine.Quarantine._until": "MOST digests",
        "front.router.Router._homes": "MOST_HOMES numbers, and the worker processes",
        "handlers.joint.busy_rule.BusyRule._askers": UNDER_WAY,
        "handlers.joint.gatherer.Gatherer._gathered": UNDER_WAY,
        "handlers.joint.gatherer.Gatherer._running": UNDER_WAY,
        "handlers.joint.joint_answers.JointAnswers._reasons": A_REQUEST,
        "handlers.joint.joint_answers.JointAnswers._uncovered": A_REQUEST,
        "handlers.joint.joint_answers.JointAnswers._writers": A_REQUEST,
        "handlers.joint.likeness._FORMS": "one entry a question, as long as that is kept",
        "handlers.joint.request_templates.RequestTemplates._known": "MOST_BYTES",
        "handlers.joint.member.Member.waiters": UNDER_WAY,
        "handlers.plans.ExplanationPlan.pieces": A_REQUEST,
        "handlers.reading_lane.ReadingLane._waiting": UNDER_WAY,
        "handlers.request_metrics.RequestMetrics._errors": LABELS,
        "handlers.request_metrics.RequestMetrics._explanations": LABELS,
        "handlers.request_metrics.RequestMetrics._rows": LABELS,
        "handlers.request_metrics.RequestMetrics._times": LABELS,
        "handlers.response_cache.ResponseCache._answers": "cache_bytes and cache_entries",
        "handlers.shared_computation.SharedComputation._seen": A_REQUEST,
        "handlers.shared_computation.SharedComputation._waiters": UNDER_WAY,
        "handlers.shared_computations.SharedComputations._running": UNDER_WAY,
        "logs.RateLimit._buckets": "MOST_KINDS",
        "hosting.local_lifecycle.LocalLifecycle._changing": MODELS,
        "hosting.local_lifecycle.LocalLifecycle._first_versions": MODELS,
        "hosting.local_lifecycle.LocalLifecycle._loads": MODELS,
        "hosting.model_loader.ModelLoader._kept_out": MODELS,
        "hosting.retirement.Retirement._tasks": MODELS,
        "hosting.showcase.Showcase._costs": MODELS,
        "lifecycle.idempotency.IdempotencyKeys._calls": "MOST_KEYS, and descriptions of models",
        "lifecycle.wanted.Wanted._left_out": MODELS,
        "lifecycle.watcher.Watcher._changed": "names of folders in the repository",
        "lifecycle.watcher.Watcher._loading": "names of folders in the repository",
        "lifecycle.wanted.Wanted.versions": MODELS,
        "models.catalogue.catalogue.Catalogue._entries": MODELS,
        "models.catalogue.catalogue.Catalogue._found": MODELS
        + "; names that are not found are not kept",
        "models.declaration.Declaration.aliases": MODELS,
        "models.declaration.Declaration.arguments": MODELS,
        "models.declaration.Declaration.layers": MODELS,
        "models.declaration.Declaration.presets": MODELS,
        "models.declaration.Declaration.trusted": MODELS,
        "models.layouts.choice._Choice._candidates": LOADING,
        "models.layouts.choice._Choice._failures": LOADING,
        "models.layouts.folding._Watch._kept": LOADING,
        "models.layouts.folding._Watch._layers": LOADING,
        "models.layouts.folding._Watch._made": LOADING,
        "models.layouts.folding._Watch._norms": LOADING,
        "models.layouts.folding._Watch.calls": LOADING,
        "models.layouts.folding._Watch.users": LOADING,
        "models.loaders.in_process.MODULES": "the modules of `serve` until it is closed",
        "models.repository.toml_table.TomlTable._known": LOADING,
        "models.row_forecasts.RowForecasts._logs": "methods times 21 powers of two of tolerances",
        "requests.questions.preparations.Preparations._known": "MOST_SHAPES of MOST_BYTES",
        "requests.questions.resolved_questions.ResolvedQuestions._known": "MOST_BYTES",
        "protocols.oip.options.Asked.method_parameters": A_REQUEST,
        "protocols.oip.statistics.Statistics._known": LABELS,
        "protocols.oip.values.infer_request.InferRequest.parameters": A_REQUEST,
        "rpc.frames.client.FrameClient._waiting": UNDER_WAY,
        "rpc.frames.server.FrameConnection._tasks": UNDER_WAY,
        "rpc.frames.server.FrameServer._connections": FRONTS,
        "security.access.Access._tasks": "one",
        "security.credentials.TokenRules.roles": CREDENTIALS,
        "security.credentials._File.certificates": CREDENTIALS,
        "security.credentials._File.keys": CREDENTIALS,
        "security.failures.Failures._left": "MOST_HOSTS numbers",
        "security.failures.Failures._untold": "one entry a reason, of which there are a dozen",
        "security.identity.Grants.patterns": CREDENTIALS,
        "security.metrics.SecurityMetrics.denied": LABELS,
        "security.metrics.SecurityMetrics.failures": LABELS,
        "security.metrics.SecurityMetrics.loads": LABELS,
        "security.metrics.SecurityMetrics.over_quota": LABELS,
        "security.quotas.Quotas._accounts": "MOST_CALLERS numbers by names of 128 bytes at most",
        "security.tokens.key_sets.AddressKeySet.keys": "MOST_KEYS, of MOST_BYTES",
        "security.tokens.token_checks.Tokens._kept": "MOST_KEPT grants of MOST_TOKEN bytes at most",
        "supervisor.views.WorkerView.bodies": "requests under way, in all max_queue_bytes",
        "supervisor.worker_link.WorkerLink._calls": "the methods of the services",
        "placement.plan._Room.models": MODELS,
        "processes.seat.Seat.unplaced": MODELS,
        "processes.seat.Seat.versions": MODELS,
        "supervisor.supervisor.Supervisor._sizes": MODELS,
        "supervisor.slot.Slot._unplaced": MODELS,
        "wire.typed_values._Walk.elements": A_REQUEST,
        "rpc.web.exposition.Exposition._next": "one entry a format of Prometheus",
        "rpc.health.Health._serving": MODELS,
        "rpc.interceptors.Interceptor._durations": LABELS,
        "rpc.interceptors.Interceptor._handlers": "methods of the protocol that exist",
        "rpc.interceptors.Interceptor._tasks": UNDER_WAY,
        "protocols.protojson.reader._fields": "256 messages, of the protocol",
        "rpc.ports.joined_server.JoinedServer._servers": "the servers that share a port",
        "rpc.web.problems.Problem.metadata": A_REQUEST,
        "rpc.local.calls.LocalCalls._services": "the services of this server",
        "rpc.local.context.Aborted.trailing": A_REQUEST,
        "rpc.messages.RequestWaits._begun": UNDER_WAY,
        "runtime.caller_rows.CallerRows._rows": "MOST_CALLERS numbers by names of callers",
        "runtime.batches.batch_metrics.BatchMetrics._children": LABELS,
        "runtime.dispatcher.Dispatcher._light_models": MODELS,
        "runtime.dispatcher.Dispatcher._stuck": MODELS,
        "runtime.step_queue.StepQueue._stops": UNDER_WAY,
        "runtime.step.RunningBatches._running": THREADS,
        "runtime.engine_runner.EngineRunner.works": UNDER_WAY,
        "runtime.batches.equal_rows.EqualRowsByModel._duplicates": MODELS,
        "runtime.loop_runner.LoopRunner._banned": MODELS,
        "runtime.timing.pace.Pace._ended": THREADS,
        "runtime.planning_threads.PlanningThreads._ready": UNDER_WAY,
        "runtime.planning_threads.PlanningThreads._tasks": UNDER_WAY,
        "runtime.planning_threads.PlanningThreads._threads": THREADS,
        "runtime.thread_runner.ThreadRunner._outdated": THREADS,
        "runtime.thread_runner.ThreadRunner._replaced": THREADS,
        "runtime.thread_runner.ThreadRunner._threads": THREADS,
        "runtime.work.Work.results": A_REQUEST,
        "runtime.work.Work.running": A_REQUEST,
        "wire.field_writer.begin": "MOST_KEPT of two numbers",
        "wire.field_writer.varint": "MOST_KEPT of a number",
        "supervisor.model_deaths.ModelDeaths._deaths": "MOST_KEPT",
        "supervisor.worker_process.WorkerProcess._hung": "a batch of each thread",
        "supervisor.worker_process.WorkerProcess._watching": "two tasks",
        "supervisor.model_deaths.ModelDeaths.quarantined": MODELS,
        "supervisor.slot.Slot._others": WORKERS,
        "supervisor.supervisor.Supervisor._tasks": WORKERS,
        "supervisor.supervisor.Supervisor.slots": WORKERS,
        "wire.method_specs._cached": "MOST_CACHED entries of MOST_CACHED_BYTES, serialised",
    }
)


def test_every_container_and_cache_is_reviewed() -> None:
    found = {
        name
        for path in ROOT.rglob("*.py")
        if path.relative_to(ROOT).parts[0] not in {"authoring", "cli"}
        for name in members(path)
    }
    assert sorted(found - REVIEWED.keys()) == [], "new: what bounds them?"
    assert sorted(REVIEWED.keys() - found) == [], "gone: take them off the list"


def members(path: Path) -> Iterator[str]:
    """The containers that objects and modules of a file hold, and its caches, by dotted names."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for name in attributes(node):
                yield f"{module}.{node.name}.{name}"
        if isinstance(node, ast.FunctionDef) and any(map(is_cache, node.decorator_list)):
            yield f"{module}.{node.name}"
    for node in tree.body:
        for target, value in assigned(node):
            constant = isinstance(value, ast.ListComp | ast.DictComp | ast.SetComp)
            kept = not constant and (is_cache(value) or is_empty(value))
            if isinstance(target, ast.Name) and kept:
                yield f"{module}.{target.id}"


def attributes(owner: ast.ClassDef) -> Iterator[str]:
    for node in ast.walk(owner):
        for target, value in assigned(node):
            if (
                isinstance(target, ast.Attribute)
                and isinstance(target.value, ast.Name)
                and target.value.id == "self"
                and (is_empty(value) or is_cache(value))
            ):
                yield target.attr
    for node in owner.body:
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.value is not None
            and makes_container(node.value)
        ):
            yield node.target.id


def assigned(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield target, node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield node.target, node.value


def is_empty(value: ast.expr) -> bool:
    """Whether a value is a new container: empty, of a constructor, or a comprehension."""
    if isinstance(value, ast.List | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
        return not getattr(value, "elts", None)
    if isinstance(value, ast.Dict):
        return not value.keys
    return isinstance(value, ast.Call) and name_of(value.func) in CONTAINERS


def is_cache(value: ast.expr) -> bool:
    """Whether an expression is `lru_cache`, a call of it, or a call of what that gives."""
    while isinstance(value, ast.Call):
        value = value.func
    return name_of(value) in CACHES


def makes_container(value: ast.expr) -> bool:
    """Whether a dataclass's default is `field(default_factory=list)` or its like."""
    return isinstance(value, ast.Call) and any(
        keyword.arg == "default_factory" and name_of(keyword.value) in CONTAINERS
        for keyword in value.keywords
    )


def name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
