"""The HTTP API under `/api/v1`, and the guard before it."""
