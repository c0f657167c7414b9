"""Messages such as a server sends."""

import numpy as np

from adcaptum.client.codec.tensors import encode_tensor
from adcaptum.v1 import (
    explain_spec_pb2,
    explanation_pb2,
    explanation_service_pb2,
    method_pb2,
    model_pb2,
)

IDENTITY = model_pb2.ModelIdentity(name="cells", version="1", digest="ab12")
TIMINGS = explanation_pb2.Timings(
    queue_seconds=0.001, compute_seconds=0.02, total_seconds=0.025, batches=2
)
COLUMNS = explanation_pb2.InputFeatures(
    input="measurements", names=["radius", "texture", "area"], units=["µm", "", "µm²"]
)
TOKENS = explanation_pb2.InputFeatures(
    input="text",
    example=0,
    names=["[CLS]", "good", "fil", "##m"],
    starts=[-1, 0, 5, 8],
    ends=[-1, 4, 8, 9],
)


def method(name: str = "integrated_gradients", **params: float) -> method_pb2.MethodSpec:
    spec = method_pb2.MethodSpec(name=name)
    for key, value in params.items():
        spec.params[key].number_value = value
    return spec


def quick() -> explain_spec_pb2.ExplainSpec:
    return explain_spec_pb2.ExplainSpec(
        methods=[method(n_steps=50)],
        output=explain_spec_pb2.OutputOptions(
            channel_reduction=explain_spec_pb2.CHANNEL_REDUCTION_SUM, max_features=2
        ),
    )


def version() -> model_pb2.ModelVersion:
    described = model_pb2.ModelVersion(
        identity=IDENTITY,
        state=model_pb2.MODEL_STATE_READY,
        inputs=[
            model_pb2.ModelInput(
                name="measurements",
                kind=model_pb2.INPUT_KIND_TABULAR,
                datatype="FP32",
                accepted_datatypes=["FP32", "FP64"],
                shape=[-1, 3],
                features=[
                    model_pb2.Feature(name="radius", unit="µm", minimum=0.0, mean=14.1),
                    model_pb2.Feature(name="texture"),
                    model_pb2.Feature(name="area", unit="µm²"),
                ],
                default_baseline="mean",
                baselines=["mean"],
                background_rows=100,
            )
        ],
        outputs=[
            model_pb2.ModelOutput(
                name="logits",
                kind=model_pb2.OUTPUT_KIND_LOGITS,
                datatype="FP32",
                shape=[-1, 2],
                labels=["malignant", "benign"],
            )
        ],
        layers=[model_pb2.ModelLayer(name="layers.2", alias="hidden", type="Linear", shape=[128])],
        checks=model_pb2.ModelChecks(independent=True, differentiable=True),
        limits=model_pb2.ModelLimits(max_rows=1000, max_examples=64),
        placements=[
            model_pb2.Placement(
                worker="0",
                device="cpu",
                state=model_pb2.MODEL_STATE_READY,
                variant="folded, channels last",
            )
        ],
        presets=[
            explain_spec_pb2.Preset(name="default", description="The usual.", spec=quick()),
            explain_spec_pb2.Preset(name="quick", description="A look.", spec=quick()),
        ],
        default_preset="default",
        accuracy=0.958,
    )
    described.load_time.seconds = 1_700_000_000
    return described


def model() -> model_pb2.Model:
    return model_pb2.Model(
        name="cells",
        description="Benign or malignant.",
        default_version="1",
        aliases={"stable": "1"},
        versions=[version()],
    )


def methods() -> list[method_pb2.Method]:
    gradients = method_pb2.Method(
        name="integrated_gradients",
        title="IntegratedGradients",
        description="Gradients along the way.",
        paper="Sundararajan",
        parameters=[
            method_pb2.Parameter(
                name="n_steps",
                type=method_pb2.PARAMETER_TYPE_INTEGER,
                minimum=1,
                description="How many points.",
            )
        ],
        needs_gradients=True,
        uses_baseline=True,
        accepts_tolerance=True,
        site_use=method_pb2.SITE_USE_LAYER_OPTIONAL,
        availability=method_pb2.Availability(available=True),
    )
    gradients.parameters[0].default_value.number_value = 50
    return [
        gradients,
        method_pb2.Method(
            name="grad_cam",
            description="Channels.",
            needs_gradients=True,
            site_use=method_pb2.SITE_USE_LAYER_REQUIRED,
            availability=method_pb2.Availability(available=True),
        ),
        method_pb2.Method(
            name="shapley_values",
            description="All orders.",
            uses_baseline=True,
            accepts_distribution=True,
            accepts_feature_masks=True,
            site_use=method_pb2.SITE_USE_NO_LAYER,
            availability=method_pb2.Availability(available=False, reason="30 features"),
        ),
    ]


def prediction() -> explanation_service_pb2.PredictResponse:
    return explanation_service_pb2.PredictResponse(
        model=IDENTITY,
        outputs=[encode_tensor(np.array([[2.0, -1.0]], np.float32), "logits")],
        predictions=[
            explanation_pb2.Prediction(
                example=0,
                labels=[
                    explanation_pb2.LabelScore(
                        index=0, label="malignant", score=2.0, probability=0.95
                    ),
                    explanation_pb2.LabelScore(
                        index=1, label="benign", score=-1.0, probability=0.05
                    ),
                ],
            )
        ],
        timings=TIMINGS,
        request_id="id-1",
    )


def table() -> explanation_pb2.Explanation:
    """Of a row of three features."""
    return _explanation(
        explanation_pb2.Attribution(
            name="measurements",
            values=encode_tensor(np.array([0.5, -2.0, 0.1]), "measurements"),
            standard_errors=encode_tensor(np.array([0.01, 0.02, 0.03])),
        )
    )


def text() -> explanation_pb2.Explanation:
    """Of the text "good film", cut into three pieces."""
    return _explanation(
        explanation_pb2.Attribution(
            name="text", values=encode_tensor(np.array([0.0, 1.5, -0.5, 0.2]), "text")
        )
    )


def pairs() -> explanation_pb2.Explanation:
    """Of every two of three features."""
    values = np.array([[0.5, 0.2, 0.0], [0.2, -2.0, 0.4], [0.0, 0.4, 0.1]])
    explanation = _explanation()
    explanation.interactions.features.extend(["radius", "texture", "area"])
    explanation.interactions.values.CopyFrom(encode_tensor(values))
    return explanation


def image(size: int = 16) -> explanation_pb2.Explanation:
    """Of an image: a positive half beside a negative one."""
    values = np.ones((3, size, size), np.float32)
    values[:, :, : size // 2] = -1
    return _explanation(
        explanation_pb2.Attribution(name="image", values=encode_tensor(values, "image"))
    )


def result(*explanations: explanation_pb2.Explanation) -> explanation_pb2.MethodResult:
    return explanation_pb2.MethodResult(
        method=method(n_steps=50),
        explanations=explanations or [table()],
        rows_used=51,
        stop_reason=explanation_pb2.STOP_REASON_COMPLETED,
    )


def failed() -> explanation_pb2.MethodResult:
    return explanation_pb2.MethodResult(
        method=method("deep_lift"),
        rows_used=0,
        stop_reason=explanation_pb2.STOP_REASON_FAILED,
        failure=explanation_pb2.Failure(
            code=9,
            reason="METHOD_UNSUPPORTED",
            message="The model uses a module twice.",
            field="spec.methods[1]",
        ),
    )


def explained(
    *explanations: explanation_pb2.Explanation,
) -> explanation_service_pb2.ExplainResponse:
    return explanation_service_pb2.ExplainResponse(
        model=IDENTITY,
        results=[result(*explanations)],
        features=[COLUMNS, TOKENS],
        seed=7,
        cache=explanation_pb2.CACHE_STATUS_MISS,
        timings=TIMINGS,
        request_id="id-2",
    )


def events() -> list[explanation_service_pb2.ExplainStreamResponse]:
    return [
        explanation_service_pb2.ExplainStreamResponse(
            accepted=explanation_service_pb2.Accepted(
                request_id="id-3", expected_rows=51, expected_seconds=0.5, rows_ahead=9
            )
        ),
        explanation_service_pb2.ExplainStreamResponse(
            progress=explanation_service_pb2.Progress(
                rows_done=20,
                expected_rows=51,
                remaining_seconds=0.25,
                results=[result()],
                features=[COLUMNS],
            )
        ),
        explanation_service_pb2.ExplainStreamResponse(
            progress=explanation_service_pb2.Progress(
                rows_done=40, expected_rows=51, results=[result()]
            )
        ),
        explanation_service_pb2.ExplainStreamResponse(result=explained()),
    ]


def _explanation(*attributions: explanation_pb2.Attribution) -> explanation_pb2.Explanation:
    return explanation_pb2.Explanation(
        example=0,
        target=0,
        index=[0],
        label="malignant",
        attributions=attributions,
        output=2.0,
        baseline_output=-1.0,
        error=explanation_pb2.ErrorEstimate(completeness=0.003),
        stop_reason=explanation_pb2.STOP_REASON_COMPLETED,
    )
