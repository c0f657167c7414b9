"""What KServe's clients see of a server, as JSON; run in an environment of its own.

python kserve_calls.py HOST:GRPC_PORT HOST:HTTP_PORT < rows.json
"""

import asyncio
import importlib
import json
import sys
from typing import Any

import grpc.aio
import numpy as np


async def main() -> None:
    """Print what each call of the clients answers."""
    kserve: Any = importlib.import_module("kserve")
    rows = np.array(json.load(sys.stdin), np.float32)
    found: dict[str, Any] = {}

    def request(model: str, *, raw: bool, **parameters: Any) -> Any:
        tensor = kserve.InferInput("measurements", list(rows.shape), "FP32")
        tensor.set_data_from_numpy(rows, binary_data=raw)
        return kserve.InferRequest(model, [tensor], request_id="7", parameters=parameters)

    def outputs(response: Any) -> dict[str, Any]:
        arrays = {each.name: each.as_numpy() for each in response.outputs}
        return {name: array.tolist() for name, array in arrays.items() if array.dtype != object}

    client = kserve.InferenceGRPCClient(sys.argv[1], retries=0)
    name = "cells:explain:integrated_gradients"
    options = {"n_steps": 9, "deterministic": True, "target": 1, "cache": "bypass"}
    found["live"] = await client.is_server_live()
    found["ready"] = await client.is_model_ready("cells")
    found["raw"] = outputs(await client.infer(request("cells", raw=True)))
    found["typed"] = outputs(await client.infer(request("cells", raw=False)))
    found["explanation"] = outputs(await client.infer(request(name, raw=True, **options)))
    try:
        await client.infer(request("sells", raw=True))
    except grpc.aio.AioRpcError as error:
        found["error"] = [error.code().name, error.details()]
    await client.close()

    url = f"http://{sys.argv[2]}"
    v1 = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v1", timeout=60))
    body = {"instances": rows.tolist()}
    found["v1 ready"] = await v1.is_model_ready(url, "cells")
    found["v1"] = await v1.infer(url, body, model_name="cells")
    found["v1 explain"] = await v1.explain(url, "cells", body)
    v2 = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2", timeout=60))
    found["v2 live"] = await v2.is_server_live(url)
    found["v2 ready"] = await v2.is_model_ready(url, "cells")
    found["v2"] = outputs(await v2.infer(url, request("cells", raw=False), model_name="cells"))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
