"""Between what callers write and read and what goes over the wire: pure, no connection here."""
