"""The rules of one duel: seats, rounds, verdicts, points, and what everyone may see.

It must not know Flask, Socket.IO, threads or the clock: the time and chance are arguments.
"""

import math
import random
import unicodedata
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from problems import Problem, make_problem, read_answer

MAX_NAME_CHARS = 20
POINTS_RIGHT = 10
POINTS_SPEED = 5  # on top for an instant answer, shrinking to none at the time limit


class Kind(Enum):
    DUEL = "duel"
    PRACTICE = "practice"


class Phase(Enum):
    WAITING = "waiting"  # no duel yet
    PROBLEM = "problem"  # a problem is on the board, answers are taken until the deadline
    REVEAL = "reveal"  # the right answer is shown until the deadline
    PAUSED = "paused"  # everyone went away between two problems
    OVER = "over"  # the last problem is done


LEGAL_MOVES: dict[Phase, frozenset[Phase]] = {
    Phase.WAITING: frozenset({Phase.PROBLEM}),
    Phase.PROBLEM: frozenset({Phase.REVEAL}),
    Phase.REVEAL: frozenset({Phase.PROBLEM, Phase.PAUSED, Phase.OVER}),
    Phase.PAUSED: frozenset({Phase.PROBLEM}),
    Phase.OVER: frozenset({Phase.PROBLEM}),
}


class Presence(Enum):
    HERE = "here"
    DROPPED = "dropped"  # the connection ended
    LEFT = "left"  # said goodbye


class Mark(Enum):
    RIGHT = "right"
    WRONG = "wrong"
    NONE = "none"  # the round ended without an answer


class Refused(Exception):
    """A request the rules do not allow; `code` is for programs, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Pace:
    """How long things take and how much there is room for."""

    rounds: int = 8
    round_seconds: float = 20.0
    reveal_seconds: float = 4.0
    seat_kept_seconds: float = 600.0  # long enough for a dead battery, short enough to forget strangers
    max_seats: int = 12

    @property
    def seat_kept_minutes(self) -> int:
        return round(self.seat_kept_seconds / 60)

    @property
    def most_points(self) -> int:
        """What somebody has who answers every sum at once."""
        return self.rounds * (POINTS_RIGHT + POINTS_SPEED)

    def __str__(self) -> str:
        return f"{_count(self.rounds, 'sum')}, {_count(self.round_seconds, 'second')} each"


@dataclass(frozen=True)
class Result:
    """How one round went for one player."""

    mark: Mark
    seconds: float | None = None  # from the sum to the answer


@dataclass
class Seat:
    """One player: the token proves who sits here, the number is what others see."""

    token: str
    number: int
    name: str
    sid: str | None
    presence: Presence = Presence.HERE
    gone_since: float = 0.0
    score: int = 0
    gained: int = 0  # points of the current round
    results: list[Result] = field(default_factory=list)  # one for each round answered or ended
    answered_round: int = 0

    @property
    def marks(self) -> list[Mark]:
        return [result.mark for result in self.results]


@dataclass(frozen=True)
class Verdict:
    """What the server says of one answer, to everyone."""

    number: int
    name: str
    round: int
    right: bool
    points: int
    score: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.number,
            "name": self.name,
            "round": self.round,
            "right": self.right,
            "points": self.points,
            "score": self.score,
        }


def clean_name(raw: object) -> str:
    """A printable name of 1 to 20 characters, or Refused."""
    if not isinstance(raw, str):
        raise Refused("name", "A name is a piece of text.")
    visible = "".join(
        c if unicodedata.category(c)[0] not in "CZ" else " " for c in unicodedata.normalize("NFC", raw)
    )
    name = " ".join(visible.split())
    if not name:
        raise Refused("name", "Please type a name.")
    if len(name) > MAX_NAME_CHARS:
        raise Refused("name", f"A name has at most {MAX_NAME_CHARS} characters.")
    return name


def _count(number: float, thing: str) -> str:
    return f"{number:g} {thing}{'' if number == 1 else 's'}"


class Duel:
    """One lobby and the duel played in it. Every method that changes something raises `version`."""

    def __init__(self, code: str, kind: Kind, pace: Pace, rng: random.Random) -> None:
        self.code = code
        self.kind = kind
        self.pace = pace
        self.phase = Phase.WAITING
        self.seats: dict[str, Seat] = {}
        self.round = 0
        self.problems: list[Problem] = []  # one for each round begun
        self.deadline: float | None = None
        self.version = 0
        self._rng = rng
        self._next_number = 1

    def dump(self) -> dict[str, Any]:
        """Everything as JSON values, but what the pace and chance are."""
        return {
            "code": self.code,
            "kind": self.kind.value,
            "phase": self.phase.value,
            "seats": [
                {
                    **vars(seat),
                    "presence": seat.presence.value,
                    "results": [(result.mark.value, result.seconds) for result in seat.results],
                }
                for seat in self.seats.values()
            ],
            "round": self.round,
            "problems": [vars(problem) for problem in self.problems],
            "deadline": self.deadline,
            "version": self.version,
            "next_number": self._next_number,
        }

    @classmethod
    def load(cls, values: dict[str, Any], pace: Pace, rng: random.Random) -> "Duel":
        """What `dump` gave."""
        duel = cls(values["code"], Kind(values["kind"]), pace, rng)
        duel.phase = Phase(values["phase"])
        for fields in values["seats"]:
            results = [Result(Mark(mark), seconds) for mark, seconds in fields["results"]]
            seat = Seat(**{**fields, "presence": Presence(fields["presence"]), "results": results})
            duel.seats[seat.token] = seat
        duel.round, duel.deadline, duel.version = values["round"], values["deadline"], values["version"]
        duel.problems = [Problem(**problem) for problem in values["problems"]]
        duel._next_number = values["next_number"]
        return duel

    @property
    def problem(self) -> Problem | None:
        """The newest one."""
        return self.problems[-1] if self.problems else None

    # ---- seats

    def sit(
        self, sid: str, name: str, token: str | None, new_token: str, now: float
    ) -> tuple[Seat, str | None]:
        """Take or retake a seat. The second value is the connection that sat there until now, if any."""
        seat = self._seat_to_resume(name, token)
        previous_sid: str | None = None
        if seat is None:
            room = 1 if self.kind is Kind.PRACTICE else self.pace.max_seats
            if len(self.seats) >= room:
                raise Refused("full", "All seats here are taken.")
            seat = Seat(new_token, self._next_number, self._free_name(name), sid)
            seat.results = [Result(Mark.NONE)] * self._rounds_ended()
            self._next_number += 1
            self.seats[seat.token] = seat
        else:
            previous_sid = seat.sid if seat.sid != sid else None
            seat.sid, seat.presence = sid, Presence.HERE
        if self.phase is Phase.PAUSED:
            self._put_problem(now)
        self.version += 1
        return seat, previous_sid

    def go(self, seat: Seat, presence: Presence, now: float) -> None:
        """A player left or was dropped; the seat and its score are kept for a while."""
        seat.sid, seat.presence, seat.gone_since = None, presence, now
        self.version += 1
        if self.phase is Phase.PROBLEM:
            self._reveal_if_all_answered(now)

    def here(self) -> list[Seat]:
        return [seat for seat in self.seats.values() if seat.presence is Presence.HERE]

    def forget_absent(self, now: float) -> bool:
        """Drop the seats nobody came back to; True when one was dropped."""
        limit = now - self.pace.seat_kept_seconds
        stale = [s for s in self.seats.values() if s.presence is not Presence.HERE and s.gone_since <= limit]
        for seat in stale:
            del self.seats[seat.token]
        if stale:
            self.version += 1
        return bool(stale)

    # ---- rounds

    def start(self, now: float) -> None:
        if self.phase not in (Phase.WAITING, Phase.OVER):
            raise Refused("running", "The duel is already running.")
        if self.kind is Kind.DUEL and len(self.here()) < 2:
            raise Refused("alone", "A duel needs two players. Share the link, or practise alone.")
        for seat in self.seats.values():
            seat.score, seat.gained, seat.results, seat.answered_round = 0, 0, [], 0
        self.round, self.problems = 0, []
        self._put_problem(now)
        self.version += 1

    def answer(self, seat: Seat, round_number: object, typed: object, now: float) -> Verdict:
        """Check one answer. Late, duplicate and unreadable ones are refused and change nothing."""
        if isinstance(round_number, bool) or not isinstance(round_number, int):
            raise Refused("malformed", "An answer names its round as a whole number.")
        if self.phase is not Phase.PROBLEM or round_number != self.round or self._is_late(now):
            raise Refused("late", "That answer came too late: the round is over.")
        if seat.answered_round == self.round:
            raise Refused("duplicate", "You have answered this round already.")
        number = read_answer(typed)
        if number is None:
            raise Refused("malformed", "Please type a whole number.")
        assert self.problem is not None
        right = number == self.problem.answer
        seat.answered_round = self.round
        seconds = self.pace.round_seconds - self._seconds_left(now)
        seat.results.append(Result(Mark.RIGHT if right else Mark.WRONG, round(seconds, 1)))
        seat.gained = POINTS_RIGHT + self._speed_points(now) if right else 0
        seat.score += seat.gained
        self.version += 1
        verdict = Verdict(seat.number, seat.name, self.round, right, seat.gained, seat.score)
        self._reveal_if_all_answered(now)
        return verdict

    def tick(self, now: float) -> bool:
        """Do what the deadline asks for; True when something changed."""
        if self.deadline is None or now < self.deadline:
            return False
        if self.phase is Phase.PROBLEM:
            self._reveal(now)
        elif self.round >= self.pace.rounds:
            self._move(Phase.OVER, None)
        elif self.here():
            self._put_problem(now)
        else:
            self._move(Phase.PAUSED, None)
        self.version += 1
        return True

    # ---- what everyone may see

    def snapshot(self, now: float) -> dict[str, Any]:
        """The whole lobby as JSON, without tokens, and without the answer while it is asked for."""
        shown = self.problem if self.phase in (Phase.PROBLEM, Phase.REVEAL) else None
        seats = sorted(self.seats.values(), key=lambda seat: (-seat.score, seat.number))
        best = max((seat.score for seat in seats), default=0)
        return {
            "code": self.code,
            "kind": self.kind.value,
            "version": self.version,
            "phase": self.phase.value,
            "round": self.round,
            "rounds": self.pace.rounds,
            "round_seconds": self.pace.round_seconds,
            "seconds_left": None if self.deadline is None else round(self._seconds_left(now), 3),
            "problem": shown.text if shown else None,
            "answer": shown.answer if shown and self.phase is Phase.REVEAL else None,
            "sums": [vars(problem) for problem in self.problems[: self._rounds_ended()]],
            "winners": [s.number for s in seats if s.score == best and best]
            if self.phase is Phase.OVER
            else [],
            "players": [
                {
                    "id": seat.number,
                    "name": seat.name,
                    "score": seat.score,
                    "gained": seat.gained if seat.answered_round == self.round else 0,
                    "presence": seat.presence.value,
                    "answered": self.round > 0 and seat.answered_round == self.round,
                    "marks": [mark.value for mark in seat.marks],
                    "seconds": [result.seconds for result in seat.results],
                }
                for seat in seats
            ],
        }

    # ---- inside

    def _seat_to_resume(self, name: str, token: str | None) -> Seat | None:
        if token is not None and token in self.seats:
            return self.seats[token]
        # The other way back: the same name, while nobody sits there. This is a game among friends.
        for seat in self.seats.values():
            if seat.presence is not Presence.HERE and seat.name.casefold() == name.casefold():
                return seat
        return None

    def _free_name(self, name: str) -> str:
        taken = {seat.name.casefold() for seat in self.seats.values()}
        if name.casefold() not in taken:
            return name
        numbered = (f"{name[: MAX_NAME_CHARS - 3].rstrip()} {n}" for n in range(2, len(taken) + 3))
        return next(candidate for candidate in numbered if candidate.casefold() not in taken)

    def _rounds_ended(self) -> int:
        return self.round - 1 if self.phase is Phase.PROBLEM else self.round

    def _is_late(self, now: float) -> bool:
        return self.deadline is not None and now >= self.deadline

    def _seconds_left(self, now: float) -> float:
        assert self.deadline is not None
        return max(0.0, self.deadline - now)

    def _speed_points(self, now: float) -> int:
        return math.ceil(POINTS_SPEED * self._seconds_left(now) / self.pace.round_seconds)

    def _move(self, phase: Phase, deadline: float | None) -> None:
        if phase not in LEGAL_MOVES[self.phase]:
            raise AssertionError(f"no move from {self.phase} to {phase}")
        self.phase, self.deadline = phase, deadline

    def _put_problem(self, now: float) -> None:
        self._move(Phase.PROBLEM, now + self.pace.round_seconds)
        self.round += 1
        self.problems.append(make_problem(self.round, self.pace.rounds, self._rng))

    def _reveal(self, now: float) -> None:
        self._move(Phase.REVEAL, now + self.pace.reveal_seconds)
        for seat in self.seats.values():
            if seat.answered_round != self.round:
                seat.results.append(Result(Mark.NONE))

    def _reveal_if_all_answered(self, now: float) -> None:
        here = self.here()
        if here and all(seat.answered_round == self.round for seat in here):
            self._reveal(now)
