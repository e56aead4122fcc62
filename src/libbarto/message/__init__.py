"""The wire vocabulary: what programs say to each other, as frozen structs.

`v1` is what barto 1.x speaks, to the byte; `v2` is barto's own. Their annotations are their format
(`libbarto.codec`), so a message is declared once and nowhere else described.
"""
