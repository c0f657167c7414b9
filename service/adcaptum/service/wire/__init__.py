"""Wire formats: the structure of messages, tensors, typed values, methods and their abilities."""
