"""Features as players: coalitions and the games they play."""
