"""Questions: the fields of a request that decide its answer, beside the model and the inputs."""
