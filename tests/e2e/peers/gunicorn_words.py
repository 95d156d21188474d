"""gunicorn's configuration in tests: a worker says in the log that it is about to serve.

It must not know any application.
"""

control_socket_disable = True  # gunicorn's own, which has one path for all of this user's servers


def post_worker_init(worker):  # type: ignore[no-untyped-def]
    worker.log.info("worker (process %s) serves", worker.pid)
