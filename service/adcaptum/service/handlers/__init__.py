"""The work behind Predict and Explain: admission, sharing, caching."""
