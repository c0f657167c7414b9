"""Joint explanations: requests that ask the same of the same model, explained as one."""
