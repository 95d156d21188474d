"""What watches a worker's sessions and clients for an operator: the debug log, the Admin UI.

Must not know: how anything is served, HTTP, Flask.
"""
