"""Answers: what the engine found, written as messages in place."""
