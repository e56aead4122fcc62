"""Where everything that happened is kept: a port, its SQL implementation, its in-memory twin."""
