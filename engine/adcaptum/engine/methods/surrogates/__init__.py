"""Methods that fit a linear model to perturbed outputs."""
