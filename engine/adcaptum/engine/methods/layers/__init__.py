"""Methods that explain the activations of a layer."""
