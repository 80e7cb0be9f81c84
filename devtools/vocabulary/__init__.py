"""kubectl's vocabulary: its commands, run directly and through the gateway, and what each of them asks for.

The equivalence test compares both runs byte by byte; ``docs/kubectl.md`` is the table of what was observed.
"""
