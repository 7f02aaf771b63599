"""What builds, checks and measures the course; the Makefile calls it."""
