"""Captum's interpretable inputs: text, images and embeddings."""
