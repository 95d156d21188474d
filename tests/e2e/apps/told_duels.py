"""Math Duels by a clock that stands until it is told to go on, so that a busy browser misses nothing.

It must not know the rules, or who plays.
"""

import app as duels
from flask import request

app = duels.app
now = 0.0
duels.clock = lambda: now


@app.post("/clock")
def go_on() -> str:
    global now
    now += float(request.args["seconds"])
    duels.referee.look_again()
    return ""
