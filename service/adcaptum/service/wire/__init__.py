"""Wire formats: tensors, method specifications, abilities."""
