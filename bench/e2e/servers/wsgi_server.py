"""WSGI peers that are started from Python: `wsgi_server.py PORT waitress|cheroot|pywsgi bare|view`.
It must not know the load."""

import sys

if sys.argv[2] == "pywsgi":
    from gevent import monkey

    monkey.patch_all()

import hello_wsgi

port, server = int(sys.argv[1]), sys.argv[2]
application = getattr(hello_wsgi, sys.argv[3])

if server == "waitress":
    import waitress

    waitress.serve(application, host="127.0.0.1", port=port, threads=4, backlog=4096, connection_limit=2000)
elif server == "cheroot":
    from cheroot.wsgi import Server

    cheroot_server = Server(("127.0.0.1", port), application, numthreads=10, request_queue_size=4096)
    cheroot_server.keep_alive_conn_limit = 2000  # its default of 10 closes the scenario's connections
    cheroot_server.safe_start()
else:
    from gevent.pywsgi import WSGIServer

    WSGIServer(("127.0.0.1", port), application, log=None, backlog=4096).serve_forever()
