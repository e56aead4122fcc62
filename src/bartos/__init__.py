"""The server: keeps schedules, holds a websocket to every worker, stores every run."""
