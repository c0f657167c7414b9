"""Handlers of Predict and Explain: reading, admission, sharing, caching, joint explanations."""
