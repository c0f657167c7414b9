"""The values that methods and drivers exchange: explicands, evaluations, readings, flows."""
