"""The placement of models on workers: what models ask for, what workers have, and the plan."""
