"""The tests of barto; what they share is imported from here (`from tests.mariadb import …`)."""
