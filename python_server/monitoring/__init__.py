"""What an operator sees of sessions and clients: debug log, metrics, health, the Admin UI.

Must not know: how anything is served, HTTP, Flask.
"""
