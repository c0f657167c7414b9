"""The entrance of calls: who makes them, how their requests are read, what is counted."""
