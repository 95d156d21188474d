"""The worker class for gunicorn: `gunicorn -k python_server.GunicornWorker module:app`.

Must not know: what an event or a frame is.
"""
