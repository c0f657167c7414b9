"""Invalid requests, each with the field, the reason and a text that its error has to have."""

from typing import NamedTuple

import numpy as np

from adcaptum.v1 import explain_spec_pb2 as spec_pb2, tensor_pb2
from tests.integration.service.asking import (
    cells,
    index,
    of_neuron,
    tensor,
)
from tests.integration.service.changes import (
    Change,
    asked_of,
    both,
    twice,
    with_background,
    with_baseline,
    with_budget,
    with_data,
    with_enum,
    with_input,
    with_layer,
    with_mask,
    with_method,
    with_number_at,
    with_output,
    with_param,
    with_preset,
    with_site_mask,
    with_start,
    with_target,
    with_tensor,
    with_through,
    with_typed,
    without_methods,
)


class Invalid(NamedTuple):
    """An invalid request.

    Attributes:
        change: Makes a valid request invalid.
        field: The path of the field that is at fault.
        text: A part of the description.
        reason: The reason, for programs.
    """

    change: Change
    field: str
    text: str
    reason: str = "FIELD_INVALID"


HALVES = np.zeros((1, 64), np.float32)
INVALID = {
    "unknown_datatype": Invalid(with_tensor(datatype="FP31"), "inputs[0].datatype", "Did you mean"),
    "long_datatype": Invalid(
        with_output(datatype="FP12" * 5000), "spec.output.datatype", "...; must be FP32"
    ),
    "unknown_priority": Invalid(with_enum("priority", 77), "priority", "INTERACTIVE or BATCH"),
    "unknown_cache": Invalid(with_enum("cache", 99), "cache", "USE or BYPASS"),
    "unknown_end": Invalid(with_enum("on_deadline", 99), "on_deadline", "FAIL or PARTIAL"),
    "unknown_reduction": Invalid(
        with_output(channel_reduction=9), "spec.output.channel_reduction", "NONE or SUM"
    ),
    "wrong_datatype": Invalid(with_data(cells().astype("float64")), "inputs[0].datatype", "FP32"),
    "bytes_for_numbers": Invalid(
        with_tensor(datatype="BYTES", shape=[1], data=b"\0\0\0\0"), "inputs[0].datatype", "FP32"
    ),
    "wrong_rank": Invalid(with_data(cells()[None]), "inputs[0].shape", "rank"),
    "wrong_length": Invalid(with_data(cells()[:, :29]), "inputs[0].shape", "[-1, 30]"),
    "negative_length": Invalid(with_tensor(shape=[-1, 30]), "inputs[0].shape", "negative"),
    "empty_batch": Invalid(with_tensor(shape=[0, 30], data=b""), "inputs[0].shape", "empty batch"),
    "too_few_bytes": Invalid(with_tensor(data=b"\0" * 119), "inputs[0].data", "takes 120"),
    "too_many_bytes": Invalid(with_tensor(data=b"\0" * 124), "inputs[0].data", "takes 120"),
    "huge_shape": Invalid(with_tensor(shape=[1 << 30, 1 << 30]), "inputs[0].shape", "at most"),
    "nan": Invalid(with_number_at(np.nan), "inputs[0].data", "finite"),
    "infinity": Invalid(with_number_at(np.inf), "inputs[0].data", "finite"),
    "values_of_a_text": Invalid(with_typed(["a"] * 30), "inputs[0].values", "numbers"),
    "values_of_wrong_length": Invalid(with_typed([1.5] * 29), "inputs[0].shape", "[-1, 30]"),
    "values_ragged": Invalid(with_typed([1] * 30, [1] * 29), "inputs[0].values[1]", "length"),
    "values_beside_a_shape": Invalid(
        with_typed([1] * 30, shape=[2, 30]), "inputs[0].shape", "[1, 30]"
    ),
    "values_too_many": Invalid(with_typed([[0] * 60] * 1100), "inputs[0].values", "65,536"),
    "no_contents": Invalid(with_input(tensor_pb2.Tensor()), "inputs[0]", "data or values"),
    "unknown_input": Invalid(with_tensor(name="measurement"), "inputs[0].name", "'measurements'"),
    "input_twice": Invalid(twice, "inputs[1].name", "second"),
    "no_input": Invalid(lambda request: request.ClearField("inputs"), "inputs", "missing"),
    "too_many_examples": Invalid(with_data(cells(1000)), "inputs[0].shape", "at most"),
    "unknown_preset": Invalid(with_preset("exat"), "preset", "'exact'", "PRESET_UNKNOWN"),
    "unknown_method": Invalid(
        asked_of("integrated_gradient"),
        "spec.methods[0].name",
        "'integrated_gradients'",
        "METHOD_UNKNOWN",
    ),
    "method_without_a_name": Invalid(without_methods, "spec.methods[0].name", "missing"),
    "unknown_parameter": Invalid(
        with_param("n_step", 5),
        "spec.methods[0].params.n_step",
        "'n_steps'",
        "PARAMETER_UNKNOWN",
    ),
    "parameter_of_wrong_type": Invalid(
        with_param("n_steps", "many"), "spec.methods[0].params.n_steps", "whole number"
    ),
    "parameter_with_a_fraction": Invalid(
        with_param("n_steps", 2.5), "spec.methods[0].params.n_steps", "whole number"
    ),
    "parameter_too_small": Invalid(
        with_param("n_steps", 0), "spec.methods[0].params.n_steps", "at least 1"
    ),
    "parameter_huge": Invalid(
        with_param("n_steps", 1 << 60), "spec.methods[0].params.n_steps", "at most"
    ),
    "unknown_choice": Invalid(
        with_param("method", "simpson"), "spec.methods[0].params.method", "one of"
    ),
    "method_inside_unknown": Invalid(
        asked_of("smooth_grad", of={"name": "salency"}),
        "spec.methods[0].params.of.name",
        "'saliency'",
        "METHOD_UNKNOWN",
    ),
    "target_too_large": Invalid(
        with_target(index(2)), "spec.targets[0].index.values[0]", "from 0 to 1"
    ),
    "target_negative": Invalid(
        with_target(index(-1)), "spec.targets[0].index.values[0]", "from 0 to 1"
    ),
    "second_target_too_large": Invalid(
        with_target(index(0), index(2)), "spec.targets[1].index.values[0]", "from 0 to 1"
    ),
    "too_many_indices": Invalid(
        with_target(index(0, 1)), "spec.targets[0].index.values", "per example"
    ),
    "unknown_label": Invalid(
        with_target(spec_pb2.Target(label="begnin")),
        "spec.targets[0].label",
        "'benign'",
        "LABEL_UNKNOWN",
    ),
    "top_none": Invalid(
        with_target(spec_pb2.Target(top_k=0)), "spec.targets[0].top_k", "from 1 to 2"
    ),
    "top_too_many": Invalid(
        with_target(spec_pb2.Target(top_k=3)), "spec.targets[0].top_k", "from 1 to 2"
    ),
    "baseline_of_wrong_shape": Invalid(
        with_baseline(tensor=tensor(cells()[:, :7])),
        "spec.baselines[0].tensor.shape",
        "[-1, 30]",
    ),
    "too_many_baselines": Invalid(
        with_baseline(tensor=tensor(cells(2))), "spec.baselines[0].tensor.shape", "`distribution`"
    ),
    "background": Invalid(with_background(2), "spec.baselines[0].background", "gradient_shap"),
    "distribution": Invalid(
        with_baseline(distribution=tensor(cells(2))),
        "spec.baselines[0].distribution",
        "gradient_shap",
    ),
    "background_inside": Invalid(
        both(asked_of("smooth_grad", of={"name": "integrated_gradients"}), with_background(2)),
        "spec.baselines[0].background",
        "gradient_shap",
    ),
    "no_layer": Invalid(
        asked_of("grad_cam"), "spec.site.layer", "'hidden', 'features', 'standardise'"
    ),
    "unknown_layer": Invalid(with_layer("hiden"), "spec.site.layer", "'hidden'", "LAYER_UNKNOWN"),
    "start_without_layer": Invalid(
        lambda request: request.spec.site.baselines.append(spec_pb2.Baseline(constant=1)),
        "spec.site.baselines",
        "without a layer",
    ),
    "start_and_baseline": Invalid(
        both(with_start(constant=1), with_baseline(constant=1)),
        "spec.site.baselines",
        "one of the two",
    ),
    "start_for_nothing": Invalid(
        both(asked_of("saliency"), with_start(constant=1)),
        "spec.site.baselines",
        "saliency compares nothing",
    ),
    "start_for_inputs": Invalid(
        both(asked_of("conductance"), with_start(constant=1)),
        "spec.site.baselines",
        "conductance compares the inputs",
    ),
    "start_of_input": Invalid(
        with_start(input="measurements", constant=1),
        "spec.site.baselines[0].input",
        "must be empty",
    ),
    "start_blurred": Invalid(
        with_start(blur=spec_pb2.Blur(sigma=1)),
        "spec.site.baselines[0].blur",
        "constant, tensor or distribution",
    ),
    "start_unsaid": Invalid(
        with_start(), "spec.site.baselines[0]", "constant, tensor or distribution"
    ),
    "start_infinite": Invalid(
        with_start(constant=np.inf), "spec.site.baselines[0].constant", "finite"
    ),
    "start_of_integers": Invalid(
        with_start(tensor=tensor(np.zeros((1, 128), np.int64))),
        "spec.site.baselines[0].tensor",
        "floating-point",
    ),
    "start_of_wrong_shape": Invalid(
        with_start(tensor=tensor(HALVES)), "spec.site.baselines[0]", "(1, 128)"
    ),
    "starts_too_many": Invalid(
        both(with_start(constant=1), with_start(constant=1)), "spec.site.baselines", "one each"
    ),
    "starts_a_distribution": Invalid(
        with_start(distribution=tensor(np.zeros((3, 128), np.float32))),
        "spec.site.baselines[0].distribution",
        "gradient_shap",
    ),
    "starts_of_too_many_rows": Invalid(
        with_start(tensor=tensor(np.zeros((3, 128), np.float32))),
        "spec.site.baselines[0].tensor.shape",
        "`distribution`",
    ),
    "mask_of_layer_of_wrong_shape": Invalid(
        both(
            asked_of("feature_ablation"), with_layer(), with_site_mask(np.zeros((1, 64), np.int64))
        ),
        "spec.site.feature_masks[0]",
        "(1, 128)",
    ),
    "mask_of_layer_named": Invalid(
        both(
            asked_of("feature_ablation"),
            with_layer(),
            with_site_mask(np.zeros((1, 128), np.int64), input="measurements"),
        ),
        "spec.site.feature_masks[0].input",
        "must be empty",
    ),
    "mask_of_inputs_at_a_layer": Invalid(
        both(asked_of("feature_ablation"), with_layer(), with_mask(np.zeros((1, 30), np.int64))),
        "spec.feature_masks",
        "site.feature_masks",
    ),
    "mask_without_names": Invalid(
        with_mask(np.arange(30)[None] // 10, names=["a", "b"]),
        "spec.feature_masks[0].names",
        "3",
    ),
    "block_ends_elsewhere": Invalid(
        with_target(of_neuron("hidden", 3, end=(5, 6))),
        "spec.targets[0].neuron.end",
        "as many as in index, 1",
    ),
    "block_empty": Invalid(
        with_target(of_neuron("hidden", 3, end=(3,))),
        "spec.targets[0].neuron.end[0]",
        "greater than index, 3",
    ),
    "block_out_of_range": Invalid(
        with_target(of_neuron("hidden", 128, end=(130,))), "spec.targets[0].neuron.index", "(128,)"
    ),
    "neuron_out_of_range": Invalid(
        with_target(of_neuron("hidden", 128)), "spec.targets[0].neuron.index", "(128,)"
    ),
    "neuron_negative": Invalid(
        with_target(of_neuron("hidden", -1)), "spec.targets[0].neuron.index[0]", "at least 0"
    ),
    "neuron_of_an_unknown_layer": Invalid(
        with_target(of_neuron("hiden", 1)),
        "spec.targets[0].neuron.layer",
        "'hidden'",
        "LAYER_UNKNOWN",
    ),
    "way_through_nothing": Invalid(asked_of("neuron_conductance"), "spec.through", "neuron"),
    "way_through_for_another_method": Invalid(
        with_through("hidden", 3), "spec.through", "integrated_gradients"
    ),
    "way_through_for_one_of_two": Invalid(
        both(with_method("neuron_conductance"), with_through("hidden", 3)),
        "spec.through",
        "integrated_gradients",
    ),
    "unknown_baseline": Invalid(
        with_baseline(named="men"), "spec.baselines[0].named", "'mean'", "BASELINE_UNKNOWN"
    ),
    "infinite_baseline": Invalid(
        with_baseline(constant=np.inf), "spec.baselines[0].constant", "finite"
    ),
    "blurred_table": Invalid(
        with_baseline(blur=spec_pb2.Blur(sigma=1)), "spec.baselines[0].blur", "only images"
    ),
    "background_too_large": Invalid(
        with_background(101), "spec.baselines[0].background.count", "from 1 to 100"
    ),
    "huge_budget": Invalid(with_budget(max_rows=(1 << 31) - 1), "spec.budget.max_rows", "at most"),
    "budget_of_nothing": Invalid(with_budget(max_rows=0), "spec.budget.max_rows", "1"),
    "budget_too_small": Invalid(
        with_budget(max_rows=3), "spec.budget.max_rows", "needs at least", "BUDGET_TOO_SMALL"
    ),
    "tolerance_of_a_method_without": Invalid(
        both(asked_of("saliency"), with_budget(tolerance=0.1)), "spec.budget.tolerance", "saliency"
    ),
    "mask_of_wrong_shape": Invalid(
        with_mask(np.zeros((1, 29), np.int64)), "spec.feature_masks[0].tensor.shape", "[1, 30]"
    ),
    "mask_of_fractions": Invalid(
        with_mask(np.zeros((1, 30), np.float32)),
        "spec.feature_masks[0].tensor.datatype",
        "whole numbers",
    ),
    "unknown_output_datatype": Invalid(
        with_output(datatype="FP12"), "spec.output.datatype", "FP16"
    ),
    "no_features": Invalid(with_output(max_features=0), "spec.output.max_features", "at least 1"),
    "no_labels": Invalid(with_output(max_labels=0), "spec.output.max_labels", "at least 1"),
    "negative_seed": Invalid(
        lambda request: setattr(request.spec, "seed", -1), "spec.seed", "at least 0"
    ),
}
