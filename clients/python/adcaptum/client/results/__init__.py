"""Results: explanations, predictions, descriptions of models and methods."""
