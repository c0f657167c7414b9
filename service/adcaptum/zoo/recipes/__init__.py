"""The recipes of the bundled models: data, training, measurement. No server imports them."""
