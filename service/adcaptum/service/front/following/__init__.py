"""Further fronts: processes that listen on the same port and follow the first front's state."""
