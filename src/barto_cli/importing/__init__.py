"""How do the jobs of cron and systemd become schedules?"""
