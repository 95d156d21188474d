"""One module per peer: how a user of that package parses, encodes and masks, as plain callables for the benches.

It must not know how they are timed. A peer that is not installed is left out by name.
"""
