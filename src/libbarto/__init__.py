"""What the programs of barto share: messages, codec, calendar, schedules, identity, settings."""
