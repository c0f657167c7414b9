"""The timing of a lane: its pace."""
