"""The wire of barto's own protocol, version 2: what worker, server and client say to each other.

Every message, record and definition here is extensible: a reader of an older minor version takes
the fields it knows, skips the rest, and reads a variant that it does not know as `Unknown`. So
fields and variants are only ever added, always last, always with a default (DESIGN section 6).
"""
