"""Messages of a broker to pages, as Flask-MQTT's documentation has it; the broker is in the program.

It must not know which server runs it.
"""

import json
import os
import threading

from flask import Flask
from flask_socketio import SocketIO


class Mqtt:
    """What Flask-MQTT does, without a network: callbacks run on a thread of its own."""

    def __init__(self):
        self.topics, self.on_message_callback = set(), None

    def subscribe(self, topic, qos=0):
        self.topics.add(topic)

    def unsubscribe_all(self):
        self.topics.clear()

    def publish(self, topic, payload, qos=0):
        if topic in self.topics:
            threading.Thread(target=self.on_message_callback, args=(None, None, topic, payload)).start()

    def on_message(self):
        def decorator(handler):
            self.on_message_callback = handler
            return handler

        return decorator


app = Flask(__name__)
app.config["MQTT_BROKER_URL"] = "localhost"
mqtt = Mqtt()
socketio = SocketIO(app)


@app.route("/")
def index():
    return "mqtt"


@socketio.on("publish")
def handle_publish(json_str):
    data = json.loads(json_str)
    mqtt.publish(data["topic"], data["message"], data["qos"])


@socketio.on("subscribe")
def handle_subscribe(json_str):
    data = json.loads(json_str)
    mqtt.subscribe(data["topic"], data["qos"])
    return sorted(mqtt.topics)


@socketio.on("unsubscribe_all")
def handle_unsubscribe_all():
    mqtt.unsubscribe_all()
    return sorted(mqtt.topics)


@mqtt.on_message()
def handle_mqtt_message(client, userdata, topic, payload):
    data = {"topic": topic, "payload": payload, "qos": 0}
    socketio.emit("mqtt_message", data=data)


if __name__ == "__main__":
    socketio.run(
        app, host="127.0.0.1", port=int(os.environ.get("PORT", 5000)), use_reloader=False, debug=False
    )
