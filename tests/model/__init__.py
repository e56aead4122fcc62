"""The promise under every fault that chance can think of: a simulation, and what it watches."""
