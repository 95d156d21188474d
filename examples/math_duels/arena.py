"""All lobbies of this process: who sits where, one lock around every rule, and what is owed to whom.

It must not know Flask, Socket.IO or the clock: it returns what has to be sent, app.py sends it.
"""

import random
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from duel import Duel, Kind, Pace, Presence, Refused, Seat, clean_name

ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # without I, L, O, 0 and 1, which are read aloud badly
DUEL_CODE = re.compile(rf"[{ALPHABET}]{{4}}")
PRACTICE_CODE = re.compile(rf"SOLO-[{ALPHABET}]{{8}}")
MAX_TOKEN_CHARS = 64
MAX_LOBBIES = 1_000  # a few kilobytes each


@dataclass(frozen=True)
class Notice:
    """One event owed to a room or to one connection (both are rooms)."""

    to: str
    event: str
    payload: dict[str, Any]


@dataclass
class Outcome:
    """What one request led to: the reply to the asker, room changes, and events for others."""

    reply: dict[str, Any] = field(default_factory=lambda: {"ok": True})
    notices: list[Notice] = field(default_factory=list)
    enter: str | None = None
    exits: list[tuple[str, str]] = field(default_factory=list)  # (room, connection)


def refusal(error: Refused) -> Outcome:
    return Outcome({"ok": False, "code": error.code, "error": str(error)})


def kind_of(code: object) -> Kind:
    """A duel's code has four characters; a practice code says SOLO. Anything else is refused."""
    if isinstance(code, str):
        if DUEL_CODE.fullmatch(code):
            return Kind.DUEL
        if PRACTICE_CODE.fullmatch(code):
            return Kind.PRACTICE
    raise Refused("code", "A lobby code has four letters or digits, such as K7QM.")


class Arena:
    """Safe to call from any thread: each public method holds the lock from its first line to its last."""

    def __init__(
        self,
        pace: Pace,
        rng: random.Random | None = None,
        lock: Callable[["Arena"], AbstractContextManager[Any]] | None = None,
    ) -> None:
        self._pace = pace
        self._rng = rng or random.SystemRandom()
        self._lock: AbstractContextManager[Any] = threading.Lock() if lock is None else lock(self)
        self._lobbies: dict[str, Duel] = {}
        self._chairs: dict[str, tuple[Duel, Seat]] = {}  # by connection

    # ---- for a lock that shares the lobbies with other processes, which holds it

    def dump(self) -> list[dict[str, Any]]:
        """Every lobby as JSON values."""
        return [lobby.dump() for lobby in self._lobbies.values()]

    def load(self, lobbies: list[dict[str, Any]]) -> None:
        """What `dump` gave, here or elsewhere."""
        self._lobbies = {lobby["code"]: Duel.load(lobby, self._pace, self._rng) for lobby in lobbies}
        self._chairs = {
            seat.sid: (lobby, seat)
            for lobby in self._lobbies.values()
            for seat in lobby.seats.values()
            if seat.sid is not None
        }

    # ---- for the pages

    def free_code(self, kind: Kind) -> str:
        """A code nobody plays under. The lobby itself opens when the first player joins it."""
        with self._lock:
            while True:
                if kind is Kind.DUEL:
                    code = "".join(secrets.choice(ALPHABET) for _ in range(4))
                else:
                    code = "SOLO-" + "".join(secrets.choice(ALPHABET) for _ in range(8))
                if code not in self._lobbies:
                    return code

    def view(self, code: str, now: float) -> dict[str, Any] | None:
        """The lobby as everyone may see it; None while nobody has joined it."""
        with self._lock:
            lobby = self._lobbies.get(code)
            return lobby.snapshot(now) if lobby else None

    # ---- for the connections

    def join(self, sid: str, payload: object, now: float) -> Outcome:
        """payload: {code, name, token?}. A token, or the name of an empty seat, brings the score back."""
        with self._lock:
            try:
                fields = _fields(payload)
                code, name, token = fields.get("code"), clean_name(fields.get("name")), fields.get("token")
                kind = kind_of(code)
                if token is not None and not (isinstance(token, str) and len(token) <= MAX_TOKEN_CHARS):
                    raise Refused("malformed", "A token is a short piece of text.")
                return self._sit(sid, str(code), kind, name, token, now)
            except Refused as error:
                return refusal(error)

    def start(self, sid: str, now: float) -> Outcome:
        with self._lock:
            try:
                lobby, _ = self._chair(sid)
                lobby.start(now)
            except Refused as error:
                return refusal(error)
            return Outcome(notices=[_lobby_notice(lobby, now)])

    def answer(self, sid: str, payload: object, now: float) -> Outcome:
        """payload: {round, answer}. Everyone in the lobby gets the verdict and the new score."""
        with self._lock:
            try:
                lobby, seat = self._chair(sid)
                fields = _fields(payload)
                verdict = lobby.answer(seat, fields.get("round"), fields.get("answer"), now)
            except Refused as error:
                return refusal(error)
            reply = {"ok": True, "right": verdict.right, "points": verdict.points, "score": verdict.score}
            return Outcome(
                reply, [Notice(lobby.code, "verdict", verdict.as_dict()), _lobby_notice(lobby, now)]
            )

    def leave(self, sid: str, now: float) -> Outcome:
        with self._lock:
            outcome = Outcome()
            self._stand_up(sid, Presence.LEFT, now, outcome)
            return outcome

    def dropped(self, sid: str, now: float) -> Outcome:
        """The connection is gone; its seat waits for a while."""
        with self._lock:
            outcome = Outcome()
            self._stand_up(sid, Presence.DROPPED, now, outcome)
            return outcome

    # ---- for the clock

    def next_deadline(self) -> float | None:
        """When `tick` has something to do next; None while no lobby is open."""
        with self._lock:
            moments = [moment for lobby in self._lobbies.values() for moment in _moments(lobby)]
            return min(moments, default=None)

    def tick(self, now: float) -> Outcome:
        """End rounds, put the next problem, forget seats nobody came back to, close empty lobbies."""
        with self._lock:
            outcome = Outcome()
            for lobby in list(self._lobbies.values()):
                changed = lobby.tick(now)
                changed = lobby.forget_absent(now) or changed
                if not lobby.seats:
                    del self._lobbies[lobby.code]
                elif changed:
                    outcome.notices.append(_lobby_notice(lobby, now))
            return outcome

    # ---- inside, lock held

    def _sit(self, sid: str, code: str, kind: Kind, name: str, token: str | None, now: float) -> Outcome:
        outcome = Outcome(enter=code)
        lobby = self._lobbies.get(code)
        if lobby is None:
            if len(self._lobbies) >= MAX_LOBBIES:
                raise Refused("busy", "Too many lobbies are open. Please try again in a few minutes.")
            lobby = Duel(code, kind, self._pace, self._rng)
        chair = self._chairs.get(sid)
        if chair is not None and chair[0] is not lobby:
            self._stand_up(sid, Presence.LEFT, now, outcome)
        elif chair is not None:
            token = chair[1].token  # a second join on one connection keeps the seat it has
        seat, previous_sid = lobby.sit(sid, name, token, secrets.token_urlsafe(16), now)
        self._lobbies[code] = lobby
        self._chairs[sid] = (lobby, seat)
        if previous_sid is not None:
            self._chairs.pop(previous_sid, None)
            outcome.exits.append((code, previous_sid))
            outcome.notices.append(Notice(previous_sid, "replaced", {"code": code}))
        snapshot = lobby.snapshot(now)
        outcome.reply = {
            "ok": True,
            "token": seat.token,
            "you": seat.number,
            "name": seat.name,
            "lobby": snapshot,
        }
        outcome.notices.append(Notice(code, "lobby", snapshot))
        return outcome

    def _stand_up(self, sid: str, presence: Presence, now: float, outcome: Outcome) -> None:
        chair = self._chairs.pop(sid, None)
        if chair is None:
            return
        lobby, seat = chair
        lobby.go(seat, presence, now)
        outcome.exits.append((lobby.code, sid))
        outcome.notices.append(_lobby_notice(lobby, now))

    def _chair(self, sid: str) -> tuple[Duel, Seat]:
        chair = self._chairs.get(sid)
        if chair is None:
            raise Refused("not_seated", "Join a lobby first.")
        return chair


def _fields(payload: object) -> Mapping[str, object]:
    if not isinstance(payload, dict):
        raise Refused("malformed", "This event takes one object.")
    return payload


def _lobby_notice(lobby: Duel, now: float) -> Notice:
    return Notice(lobby.code, "lobby", lobby.snapshot(now))


def _moments(lobby: Duel) -> list[float]:
    """When this lobby changes by itself: the end of its round, and the end of each empty seat."""
    kept = lobby.pace.seat_kept_seconds
    gone = [seat.gone_since + kept for seat in lobby.seats.values() if seat.presence is not Presence.HERE]
    return gone if lobby.deadline is None else [*gone, lobby.deadline]
