"""The websocket endpoints: `/v1/ws/worker` and `/v1/ws/cli`."""
