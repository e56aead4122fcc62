"""What the programs of barto share: messages and codec, calendar, schedules, identity, configuration."""
