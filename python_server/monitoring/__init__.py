"""What watches a worker's sessions and clients for an operator: lines of the debug log.

Must not know: how anything is served, HTTP, Flask.
"""
