"""How each bundled model is made: data, training, measurement. No server imports it."""
