"""What an operator sees: debug log, metrics, health.

Must not know: how anything is served, HTTP, Flask.
"""
