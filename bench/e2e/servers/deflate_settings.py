"""permessage-deflate as every server of the benchmark has it that can be told: no contexts, no threshold.
It must not know any server's words for it."""

LEVEL, MEMORY_LEVEL, WINDOW_BITS = 6, 8, 15
