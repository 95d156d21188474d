"""A game for two: who comes waits in a room until a second comes, then they move in turn.

It must not know which server runs it.
"""

import os
from itertools import count

from flask import Flask, request
from flask_socketio import SocketIO, close_room, emit, join_room

app = Flask(__name__)
socketio = SocketIO(app)
LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]


class Game:
    numbers = count(1)

    def __init__(self):
        self.room = f"game{next(Game.numbers)}"
        self.players = []
        self.board = [" "] * 9
        self.turn = 0

    def winner(self):
        return next(
            (self.board[a] for a, b, c in LINES if self.board[a] == self.board[b] == self.board[c] != " "),
            None,
        )


games = {}
waiting = None


@socketio.on("play")
def play():
    global waiting
    game, waiting = waiting or Game(), None
    if not game.players:
        waiting = game
    game.players.append(request.sid)
    games[request.sid] = game
    join_room(game.room)
    if len(game.players) == 2:
        for mark, sid in zip("XO", game.players):
            socketio.emit("start", {"you": mark}, to=sid)
    else:
        emit("wait")


@socketio.on("move")
def move(cell):
    game = games[request.sid]
    player = game.players.index(request.sid)
    if game.turn != player or game.board[cell] != " ":
        return False, "not possible"
    game.board[cell], game.turn = "XO"[player], 1 - player
    emit("board", "".join(game.board), to=game.room)
    if game.winner():
        emit("won", game.winner(), to=game.room)
        close_room(game.room)
        for sid in game.players:
            del games[sid]
    return True


@socketio.on("disconnect")
def left():
    game = games.pop(request.sid, None)
    if game:
        emit("opponent_left", to=game.room, skip_sid=request.sid)


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 5000)), host="127.0.0.1")
