"""The models that the protocol shows: their metadata, readiness and list."""

from typing import NoReturn

import grpc

from adcaptum.service.errors import NotFound, Unsupported
from adcaptum.service.protocols.oip import model_index, model_metadata
from adcaptum.service.protocols.oip.descriptions import Descriptions, version_of
from adcaptum.service.protocols.oip.inference import Inference
from adcaptum.service.protocols.oip.model_index import IndexEntry
from adcaptum.service.protocols.oip.model_metadata import ModelMetadata
from adcaptum.service.protocols.oip.statistics import ModelStatistics, Statistics
from adcaptum.service.protocols.oip.values.model_names import ALIAS, ModelName, parsed, reference
from adcaptum.service.rpc.local.calls import CallFailed, Envelope
from adcaptum.v1 import explain_spec_pb2, method_pb2, model_pb2

GONE = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE)


class Catalogue:
    """Describes models and virtual models."""

    def __init__(
        self, descriptions: Descriptions, inference: Inference, statistics: Statistics
    ) -> None:
        """Prepares it.

        Args:
            descriptions: What is known of models and methods.
            inference: Tells errors.
            statistics: What was counted.
        """
        self._descriptions = descriptions
        self._inference = inference
        self._statistics = statistics

    async def metadata(self, name: str, version: str, envelope: Envelope) -> ModelMetadata:
        """Describes a model.

        Raises:
            CallFailed: There is no such model, or what would explain it cannot.
        """
        model_name = parsed(name)
        wanted = reference(model_name.model, version)
        model = await self._descriptions.model(wanted, envelope)
        own = version_of(model)
        if own.state != model_pb2.MODEL_STATE_READY:
            # What does not serve may not be described: this says why it does not.
            await self._descriptions.methods_of(wanted, envelope)
        if not model_name.explained_by:
            self._statistics.exists(name, own.identity.version)
            return model_metadata.of_model(model, own)
        methods = {
            each.name: each for each in await self._descriptions.methods_of(wanted, envelope)
        }
        spec = await self._spec(model_name, own, methods, envelope)
        if spec.site.layer:
            own = version_of(await self._descriptions.model(wanted, envelope, layers=True))
        for each in spec.methods:
            await self._check(model_name, methods[each.name], envelope)
        self._statistics.exists(name, own.identity.version)
        asked = [methods[each.name] for each in spec.methods]
        return model_metadata.of_explanation(name, model, own, spec, asked)

    async def is_ready(self, name: str, version: str, envelope: Envelope) -> bool:
        """Returns whether a model serves.

        Raises:
            CallFailed: That cannot be said.
        """
        model_name = parsed(name)
        try:
            model = await self._descriptions.model(reference(model_name.model, version), envelope)
            if version_of(model).state != model_pb2.MODEL_STATE_READY:
                return False
            if model_name.explained_by:
                await self.metadata(name, version, envelope)
        except CallFailed as failed:
            if failed.code in GONE or failed.code is grpc.StatusCode.FAILED_PRECONDITION:
                return False
            raise
        return True

    async def index(self, envelope: Envelope, *, ready: bool) -> list[IndexEntry]:
        """Lists all versions of all models, and the virtual models of those that serve.

        Args:
            envelope: What came with the request.
            ready: Whether to list only those that serve.

        Raises:
            CallFailed: They cannot be listed.
        """
        found = []
        async for model in self._descriptions.models(envelope):
            for version in model.versions:
                entry = model_index.entry(model, version)
                if entry.state == model_index.READY:
                    found.append(entry)
                    wanted = reference(model.name, entry.version)
                    methods = await self._descriptions.methods_of(wanted, envelope)
                    found += [
                        entry._replace(name=name) for name in model_index.virtual(version, methods)
                    ]
                elif not ready:
                    found.append(entry)
        return found

    async def statistics(
        self, name: str, version: str, envelope: Envelope
    ) -> list[ModelStatistics]:
        """Returns what was counted of a model, or of all.

        Args:
            name: A model; empty for all that were asked for.
            version: A version; empty for all of them.
            envelope: What came with the request.

        Raises:
            CallFailed: There is no such model.
        """
        wanted = "" if version.startswith(ALIAS) else version
        if name:
            await self.metadata(name, version, envelope)
            return self._statistics.of(name, wanted)
        # Those of which the caller may know.
        models = {each.name async for each in self._descriptions.models(envelope)}
        found = self._statistics.of("", wanted)
        return [each for each in found if parsed(each.name).model in models]

    async def _spec(
        self,
        name: ModelName,
        version: model_pb2.ModelVersion,
        methods: dict[str, method_pb2.Method],
        envelope: Envelope,
    ) -> explain_spec_pb2.ExplainSpec:
        """Returns the question that a virtual model stands for."""
        presets = {each.name: each.spec for each in version.presets}
        if name.explained_by in methods:
            spec = explain_spec_pb2.ExplainSpec()
            spec.CopyFrom(presets.get(version.default_preset, spec))
            del spec.methods[:]
            spec.methods.add(name=name.explained_by)
            return spec
        if name.explained_by in presets:
            return presets[name.explained_by]
        virtual = [str(ModelName(name.model, each)) for each in (*methods, *presets)]
        return await self._refuse(NotFound("model", str(name), virtual), envelope)

    async def _check(self, name: ModelName, method: method_pb2.Method, envelope: Envelope) -> None:
        if method.HasField("availability") and not method.availability.available:
            text = f"{method.name}: {method.availability.reason}"
            await self._refuse(Unsupported(text, subject=name.model), envelope)

    async def _refuse(self, error: Exception, envelope: Envelope) -> NoReturn:
        await self._inference.refuse(error, envelope, "GetModel")
        raise error
