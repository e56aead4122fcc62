"""The worker on each host: fires its schedules, runs the commands, delivers what they printed."""
