"""What extensions do: a subclass of SocketIO that checks what is sent, wraps handlers, has a page of events.

It must not know which server runs it.
"""

import functools
import os

from flask import Blueprint, Flask, jsonify
from flask_socketio import Namespace, SocketIO, emit, send


class CheckedSocketIO(SocketIO):
    def __init__(self, app=None, *, sends=(), **kwargs):
        self.sends, self.documented = dict(sends), {}
        super().__init__(app, **kwargs)

    def init_app(self, app, **kwargs):
        super().init_app(app, **kwargs)
        docs = Blueprint("docs", __name__)
        docs.add_url_rule("/docs", view_func=lambda: jsonify(self.documented, self.sockio_mw.engineio_path))
        app.register_blueprint(docs)

    def on(self, message, namespace=None, **kwargs):
        def decorator(handler):
            self.documented[message] = (handler.__doc__ or "").strip()

            @functools.wraps(handler)
            def checked(*args):
                if any(arg is None for arg in args):
                    raise ValueError("nothing is not allowed")
                return handler(*args)

            super(CheckedSocketIO, self).on(message, namespace, **kwargs)(checked)
            return checked

        return decorator

    def emit(self, event, *args, **kwargs):
        if not isinstance(args[0] if args else None, self.sends.get(event, object)):
            raise TypeError(f"{event} does not carry this")
        return super().emit(event, *args, **kwargs)

    def send(self, data, json=False, namespace=None, to=None, callback=None, include_self=True, **kwargs):
        return super().send({"wrapped": data}, json, namespace, to, callback, include_self, **kwargs)


class News(Namespace):
    def on_read(self, topic):
        self.emit("number", topic)


app = Flask(__name__)
socketio = CheckedSocketIO(app, sends={"number": int})
socketio.on_namespace(News("/news"))


@socketio.on("count")
def count(number):
    """Counts one up."""
    emit("number", number + 1, broadcast=True)
    return number


@socketio.on("spell")
def spell(text):
    """Sends no number."""
    try:
        emit("number", text)
    except TypeError as error:
        return str(error)


@socketio.on("tell")
def tell(text):
    send(text, broadcast=True)


@socketio.on_error_default
def failed(error):
    emit("failed", str(error))


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 5000)))
