"""The pages: what is happening, what failed, what comes next."""
