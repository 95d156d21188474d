"""Our worker under gunicorn's arbiter: `gunicorn -k python_server.GunicornWorker module:app`.

Must not know: what an event or a frame is.
"""
