"""Values of the protocol, whatever form they come in."""
