"""The repository of models: declarations, code and tensors in folders."""
