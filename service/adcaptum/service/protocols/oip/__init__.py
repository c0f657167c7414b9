"""The Open Inference Protocol, version 2: predictions and explanations for its clients."""
