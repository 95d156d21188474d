"""Other machines of one cluster: requests whose session lives on one of them, and theirs for ours.

Must not know: rooms, events, what a poll or a post says.
"""
