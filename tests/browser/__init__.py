"""The pages, in a browser, against a real server with real workers."""
