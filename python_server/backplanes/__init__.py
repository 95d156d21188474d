"""Brokers besides Redis and Valkey, each as a package of its own would bring it.

Must not know: anything of this server. docs/how-to/backplane.md has the port.
"""
