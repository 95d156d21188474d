"""The worker class for gunicorn: `gunicorn -k python_server.GunicornWorker module:app`.

Must not know: what an event or a frame is.
"""

from python_server import need_server

need_server("python_server.gunicorn")
