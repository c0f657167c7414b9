"""The timing of a lane: its pace, and the bursts in which its works come."""
