"""Forms of forward functions: with futures of their outputs, or one answer for a whole batch."""
