"""Messages such as a server sends."""

import numpy as np

from adcaptum.client.codec.tensors import encode_tensor
from adcaptum.v1 import explanation_pb2, explanation_service_pb2, method_pb2, model_pb2

IDENTITY = model_pb2.ModelIdentity(name="cells", version="1", digest="ab12")
TIMINGS = explanation_pb2.Timings(
    queue_seconds=0.001, compute_seconds=0.02, total_seconds=0.025, batches=2
)
REPORT = explanation_pb2.MethodReport(
    method=method_pb2.MethodSpec(
        name="integrated_gradients",
        params={"n_steps": method_pb2.ParameterValue(integer=50)},
    ),
    rows_used=51,
    stop_reason=explanation_pb2.STOP_REASON_CONVERGED,
)


def model() -> model_pb2.Model:
    return model_pb2.Model(
        identity=IDENTITY,
        versions=["1"],
        aliases={"stable": "1"},
        state=model_pb2.MODEL_STATE_READY,
        description="Benign or malignant.",
        inputs=[
            model_pb2.ModelInput(
                name="measurements",
                datatype="FP32",
                shape=[-1, 3],
                kind="tabular",
                features=["radius", "texture", "area"],
                units=["µm", "", "µm²"],
                default_baseline="mean",
                baselines=["mean"],
                background_rows=100,
            )
        ],
        outputs=[
            model_pb2.ModelOutput(
                name="logits",
                datatype="FP32",
                shape=[-1, 2],
                labels=["malignant", "benign"],
                kind="logits",
            )
        ],
        layers=[model_pb2.ModelLayer(name="layers.2", alias="hidden", type="Linear", shape=[128])],
        checks=model_pb2.ModelChecks(independent=True, differentiable=True, accuracy=0.958),
        default_method="integrated_gradients",
        device="cpu",
        max_rows=1000,
        max_examples=64,
        layout=model_pb2.ModelLayout(
            name="folded",
            output_distance=1.2e-7,
            gradient_distance=3.4e-6,
            own_output_rounding=1e-7,
            own_gradient_rounding=2e-6,
            rows_per_second={"as loaded": 1000.0, "folded": 1400.0, "channels last": 900.0},
            failures={"bfloat16": "gives what is not a number"},
        ),
    )


def methods() -> list[method_pb2.Method]:
    return [
        method_pb2.Method(
            name="integrated_gradients",
            title="IntegratedGradients",
            summary="Gradients along the way.",
            paper="Sundararajan",
            parameters=[
                method_pb2.Parameter(
                    name="n_steps",
                    type=method_pb2.PARAMETER_TYPE_INTEGER,
                    default_value=method_pb2.ParameterValue(integer=50),
                    minimum=1,
                    text="How many points.",
                )
            ],
            gradient=True,
            baseline=True,
            layers=True,
            available=True,
        ),
        method_pb2.Method(
            name="grad_cam",
            summary="Channels.",
            gradient=True,
            layers=True,
            layer_required=True,
            available=True,
        ),
        method_pb2.Method(
            name="shapley_values",
            summary="All orders.",
            baseline=True,
            background=True,
            feature_masks=True,
            available=False,
            reason="30 features",
        ),
    ]


def prediction() -> explanation_service_pb2.PredictResponse:
    return explanation_service_pb2.PredictResponse(
        model=IDENTITY,
        outputs=[encode_tensor(np.array([[2.0, -1.0]], np.float32), "logits")],
        predictions=[
            explanation_service_pb2.Prediction(
                labels=[
                    explanation_service_pb2.LabelScore(
                        index=0, label="malignant", score=2.0, probability=0.95
                    ),
                    explanation_service_pb2.LabelScore(
                        index=1, label="benign", score=-1.0, probability=0.05
                    ),
                ]
            )
        ],
        timings=TIMINGS,
        request_id="id-1",
    )


def table() -> explanation_pb2.Explanation:
    """Of a row of three features."""
    return _explanation(
        explanation_pb2.Attribution(
            values=encode_tensor(np.array([0.5, -2.0, 0.1]), "measurements"),
            standard_errors=encode_tensor(np.array([0.01, 0.02, 0.03])),
        )
    )


def text() -> explanation_pb2.Explanation:
    """Of the text "good film", cut into three pieces."""
    return _explanation(
        explanation_pb2.Attribution(
            values=encode_tensor(np.array([0.0, 1.5, -0.5, 0.2]), "text"),
            tokens=["[CLS]", "good", "fil", "##m"],
            token_starts=[-1, 0, 5, 8],
            token_ends=[-1, 4, 8, 9],
        )
    )


def pairs() -> explanation_pb2.Explanation:
    """Of every two of three features."""
    values = np.array([[0.5, 0.2, 0.0], [0.2, -2.0, 0.4], [0.0, 0.4, 0.1]])
    return _explanation(
        explanation_pb2.Attribution(
            values=encode_tensor(values, "measurements"),
            pairs=True,
            features=["radius", "texture", "area"],
        )
    )


def image(size: int = 16) -> explanation_pb2.Explanation:
    """Of an image: a positive half beside a negative one."""
    values = np.ones((3, size, size), np.float32)
    values[:, :, : size // 2] = -1
    return _explanation(explanation_pb2.Attribution(values=encode_tensor(values, "image")))


def explained(
    *explanations: explanation_pb2.Explanation,
) -> explanation_service_pb2.ExplainResponse:
    return explanation_service_pb2.ExplainResponse(
        model=IDENTITY,
        explanations=explanations or [table()],
        reports=[REPORT],
        seed=7,
        timings=TIMINGS,
        request_id="id-2",
    )


def events() -> list[explanation_service_pb2.ExplainStreamResponse]:
    return [
        explanation_service_pb2.ExplainStreamResponse(
            accepted=explanation_service_pb2.Accepted(request_id="id-3", rows=51, rows_ahead=9)
        ),
        explanation_service_pb2.ExplainStreamResponse(
            partial=explanation_service_pb2.Partial(rows_done=20, rows=51, explanations=[table()])
        ),
        explanation_service_pb2.ExplainStreamResponse(final=explained()),
    ]


def _explanation(attribution: explanation_pb2.Attribution) -> explanation_pb2.Explanation:
    return explanation_pb2.Explanation(
        method="integrated_gradients",
        example=0,
        target=[0],
        label="malignant",
        attributions=[attribution],
        output=2.0,
        baseline_output=-1.0,
        error=explanation_pb2.ExplanationError(
            kind=explanation_pb2.ERROR_KIND_COMPLETENESS, value=0.003
        ),
    )
