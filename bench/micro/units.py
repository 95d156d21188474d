"""Durations and rates as people read them, with three digits.

It must not know what they are of.
"""


def duration(seconds: float) -> str:
    for unit, size in (("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{digits(seconds / size)} {unit}"
    return f"{digits(seconds * 1e9)} ns"


def rate(per_second: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if per_second >= size:
            return f"{digits(per_second / size)} {unit}"
    return f"{per_second:.0f} "


def digits(value: float) -> str:
    """Three of them, and no power of ten: 1.23, 12.3, 123, 1234."""
    return f"{value:.{max(0, 3 - len(str(int(value))))}f}"
