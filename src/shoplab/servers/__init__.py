"""One module for each server: how it is prepared, started, proven to serve, and stopped."""
