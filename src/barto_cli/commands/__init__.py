"""The commands: each asks the server something, and says what it heard."""
