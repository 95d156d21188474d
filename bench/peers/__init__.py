"""One module per peer: how its users parse, encode and mask, as plain callables for the benches.

It must not know how they are timed. A peer that is not installed is left out by name.
"""
