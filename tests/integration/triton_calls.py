"""What Triton's client sees of a server, as JSON; run in an environment of its own.

python triton_calls.py HOST:PORT < rows.json
"""

import importlib
import json
import queue
import sys
from typing import Any

import numpy as np


def main() -> None:
    """Print what each call of the client answers."""
    triton: Any = importlib.import_module("tritonclient.grpc")
    client = triton.InferenceServerClient(sys.argv[1])
    rows = np.array(json.load(sys.stdin), np.float32)
    tensor = triton.InferInput("measurements", rows.shape, "FP32")
    tensor.set_data_from_numpy(rows)
    found: dict[str, Any] = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "models": [client.is_model_ready(name) for name in ("cells", "cells:explain:lime", "no")],
        "server": client.get_server_metadata(as_json=True),
        "metadata": client.get_model_metadata("cells:explain:saliency", as_json=True),
        "config": client.get_model_config("cells:explain:saliency", as_json=True),
        "index": [each.name for each in client.get_model_repository_index().models],
    }

    def outputs(result: Any) -> dict[str, Any]:
        names = [each.name for each in result.get_response().outputs]
        arrays = {name: result.as_numpy(name) for name in names}
        return {
            name: [each.decode() for each in array] if array.dtype == object else array.tolist()
            for name, array in arrays.items()
        }

    found["prediction"] = outputs(client.infer("cells", [tensor], priority=1, timeout=20_000_000))
    wanted = [triton.InferRequestedOutput(name) for name in ("target.label", "prediction.logits")]
    found["some"] = outputs(client.infer("cells:explain:saliency", [tensor], outputs=wanted))
    options = {"n_steps": 9, "deterministic": True, "target": 1, "cache": "bypass"}
    name = "cells:explain:integrated_gradients"
    result = client.infer(name, [tensor], parameters=options, client_timeout=20)
    found["explanation"] = outputs(result)

    events: Any = queue.Queue()
    client.start_stream(lambda result, error: events.put((result, error)))
    options = {"tolerance": 1e-3, "deterministic": True, "cache": "bypass"}
    for id_, model in (("a", name), ("b", "cells:explain:no"), ("c", "cells")):
        client.async_stream_infer(
            model,
            [tensor],
            request_id=id_,
            parameters=options if id_ == "a" else None,
            enable_empty_final_response=True,
        )
    streamed: dict[str, Any] = {}
    while "c" not in streamed:
        result, error = events.get(timeout=60)
        if error is not None:
            streamed["b"] = str(error)
        elif result.get_response().parameters["triton_final_response"].bool_param:
            streamed[result.get_response().id] = outputs(result)
    client.stop_stream()
    found["streamed"] = streamed

    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
    errors: dict[str, list[str]] = {}
    for name, call in {
        "model": lambda: client.infer("sells", [tensor], request_id="7"),
        "trace": client.get_trace_settings,
        "log": client.get_log_settings,
        "shared memory": client.get_system_shared_memory_status,
    }.items():
        try:
            call()
        except triton.InferenceServerException as error:
            errors[name] = [error.status(), error.message()]
    found["errors"] = errors
    found["statistics"] = client.get_inference_statistics("cells", as_json=True)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
