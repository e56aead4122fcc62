"""Which commands are there? A room for each kind of them: only declarations, no bodies."""
