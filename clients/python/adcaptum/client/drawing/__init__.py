"""Drawings of explanations: PNG, HTML and terminal."""
