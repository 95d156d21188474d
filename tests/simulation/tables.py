"""x"""


def all_tables(record):
    return {}
