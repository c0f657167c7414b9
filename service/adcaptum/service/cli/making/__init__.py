"""Commands that make, try and pack entries of a repository; torch is imported when they run."""
