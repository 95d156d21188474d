"""Socket.IO protocol 5: namespaces, rooms, events, acknowledgements.

Must not know: frames, headers, descriptors, Flask.
"""
