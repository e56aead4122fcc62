"""Real processes, real faults, and a checker that believes none of them: `make chaos`."""
