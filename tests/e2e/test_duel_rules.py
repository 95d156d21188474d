"""The rules of Math Duels, with the time and chance given: no server, no network, no waiting.

It must not know Flask or Socket.IO; the modules under test do not either.
"""

import json
import random
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

DUELS = Path(__file__).resolve().parents[2] / "examples" / "math_duels"
sys.path.insert(0, str(DUELS))
try:
    import arena
    import duel
    import problems
finally:
    sys.path.remove(str(DUELS))

from arena import Arena, Outcome  # noqa: E402
from duel import Duel, Kind, Mark, Pace, Phase, Presence, Refused, Seat  # noqa: E402

PACE = Pace(rounds=3, round_seconds=20.0, reveal_seconds=4.0, seat_kept_seconds=600.0, max_seats=3)


def new_duel(kind: Kind = Kind.DUEL) -> Duel:
    return Duel("K7QM", kind, PACE, random.Random(1))


def sit(game: Duel, name: str, token: str | None = None, now: float = 0.0) -> Seat:
    return game.sit(f"sid-{name}-{now}", name, token, f"token-{name}-{now}", now)[0]


def running(now: float = 0.0) -> tuple[Duel, Seat, Seat]:
    game = new_duel()
    ada, ben = sit(game, "Ada"), sit(game, "Ben")
    game.start(now)
    return game, ada, ben


def right(game: Duel) -> int:
    assert game.problem is not None
    return game.problem.answer


# ---- problems


@pytest.mark.parametrize("rung", range(len(problems.LADDER)))
def test_every_problem_says_what_it_asks(rung: int) -> None:
    rng = random.Random(rung)
    for _ in range(300):
        problem = problems.LADDER[rung](rng)
        plain = problem.text.translate(
            {ord(problems.TIMES): "*", ord(problems.DIVIDED_BY): "/", ord(problems.MINUS): "-"}
        )
        assert set(plain) <= set("0123456789+-*/() ")
        assert eval(plain) == problem.answer
        assert 0 <= problem.answer < 1000


def test_problems_grow_harder_and_reach_the_top() -> None:
    rungs = [problems.make_problem(number, 8, random.Random(0)).text for number in (1, 8)]
    assert "+" in rungs[0]
    assert "(" in rungs[1]
    assert problems.make_problem(1, 1, random.Random(0)).text


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("42", 42), (" 42 ", 42), ("007", 7), (42, 42), ("-3", -3), ("\N{MINUS SIGN}3", -3), ("0", 0),
        ("", None), ("  ", None), ("-", None), ("--3", None), ("4.0", None), ("4e1", None), ("1_000", None),
        ("٤٢", None), ("²", None), ("9" * 13, None), (10**12, None), (True, None), (4.0, None), (None, None),
        ([42], None),
    ],
)  # fmt: skip
def test_reading_an_answer(typed: object, number: int | None) -> None:
    assert problems.read_answer(typed) == number


# ---- names


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Ada", "Ada"),
        ("  Ada   L ", "Ada L"),
        ("Zoë\x00\n", "Zoë"),
        ("e\u0301", "é"),
        ("👩", "👩"),
        ("x" * 20, "x" * 20),
    ],
)
def test_clean_names(raw: str, name: str) -> None:
    assert duel.clean_name(raw) == name


@pytest.mark.parametrize("raw", ["", "   ", "\u200b", "\x00", "x" * 21, None, 7, ["Ada"], {"a": 1}])
def test_refused_names(raw: object) -> None:
    with pytest.raises(Refused) as refused:
        duel.clean_name(raw)
    assert refused.value.code == "name"


# ---- rounds


def test_a_duel_needs_two_and_practice_one() -> None:
    game = new_duel()
    sit(game, "Ada")
    with pytest.raises(Refused, match="two players"):
        game.start(0.0)
    solo = new_duel(Kind.PRACTICE)
    sit(solo, "Ada")
    solo.start(0.0)
    assert solo.phase is Phase.PROBLEM
    with pytest.raises(Refused, match="seats"):
        sit(solo, "Ben")


def test_a_whole_duel() -> None:
    game, ada, ben = running()
    now = 0.0
    for number in (1, 2, 3):
        assert (game.phase, game.round) == (Phase.PROBLEM, number)
        assert game.answer(ada, number, str(right(game)), now).right
        assert game.snapshot(now)["phase"] == "problem"
        assert not game.answer(ben, number, right(game) + 1, now).right
        assert game.snapshot(now)["phase"] == "reveal"
        assert game.snapshot(now)["answer"] == right(game)
        assert not game.tick(now + 3.9)
        now += 4.0
        assert game.tick(now)
    assert game.phase is Phase.OVER
    over = game.snapshot(now)
    assert over["winners"] == [ada.number]
    assert [player["score"] for player in over["players"]] == [45, 0]
    game.start(now)
    assert (ada.score, ada.marks, game.round) == (0, [], 1)


def test_each_sum_is_kept_with_everybodys_time() -> None:
    game, ada, ben = running()
    game.answer(ada, 1, right(game), 2.34)
    first = right(game)
    game.tick(20.0)
    game.tick(24.0)
    game.answer(ben, 2, right(game) + 1, 24.5)
    game = Duel.load(json.loads(json.dumps(game.dump())), PACE, random.Random(1))  # as another worker has it
    snapshot = game.snapshot(25.0)
    assert [done["answer"] for done in snapshot["sums"]] == [first]
    assert {player["name"]: (player["marks"], player["seconds"]) for player in snapshot["players"]} == {
        "Ada": (["right"], [2.3]),
        "Ben": (["none", "wrong"], [None, 0.5]),
    }
    game.tick(44.0)
    assert [done["text"] for done in game.snapshot(44.0)["sums"]] == [done.text for done in game.problems]


def test_a_rematch_begins_with_an_empty_sheet() -> None:
    game, *_ = running()
    for now in (20.0, 24.0, 44.0, 48.0, 68.0, 72.0):
        game.tick(now)
    assert len(game.snapshot(72.0)["sums"]) == 3
    game.start(80.0)
    snapshot = game.snapshot(80.0)
    assert (snapshot["sums"], [player["seconds"] for player in snapshot["players"]]) == ([], [[], []])


@pytest.mark.parametrize(
    ("pace", "words"),
    [
        (Pace(), "8 sums, 20 seconds each"),
        (Pace(rounds=1, round_seconds=2.5), "1 sum, 2.5 seconds each"),
        (Pace(rounds=2, round_seconds=1.0), "2 sums, 1 second each"),
    ],
)
def test_a_pace_in_words(pace: Pace, words: str) -> None:
    assert str(pace) == words


def test_the_answer_stays_secret_while_it_is_asked_for() -> None:
    game, ada, _ = running()
    snapshot = game.snapshot(5.0)
    assert snapshot["sums"] == []
    assert snapshot["problem"]
    assert snapshot["answer"] is None
    assert snapshot["seconds_left"] == 15.0
    assert ada.token not in repr(snapshot)


@pytest.mark.parametrize(
    ("after_seconds", "points"), [(0.0, 15), (0.1, 15), (4.0, 14), (10.0, 13), (19.9, 11)]
)
def test_points_shrink_with_time(after_seconds: float, points: int) -> None:
    game, ada, _ = running()
    verdict = game.answer(ada, 1, right(game), after_seconds)
    assert (verdict.points, verdict.score) == (points, points)


def test_no_winner_without_points() -> None:
    game, _, _ = running()
    now = 0.0
    for _ in range(PACE.rounds):
        now += PACE.round_seconds
        assert game.tick(now)
        now += PACE.reveal_seconds
        assert game.tick(now)
    snapshot = game.snapshot(now)
    assert snapshot["winners"] == []
    assert snapshot["players"][0]["marks"] == ["none"] * 3


def test_late_duplicate_and_foreign_answers_change_nothing() -> None:
    game, ada, ben = running()
    game.answer(ada, 1, 0, 1.0)
    state = game.snapshot(2.0)
    for seat, number, typed, now, code in [
        (ada, 1, right(game), 2.0, "duplicate"),
        (ben, 0, 1, 2.0, "late"),
        (ben, 2, 1, 2.0, "late"),
        (ben, 1, right(game), 20.0, "late"),
        (ben, 1, "many", 2.0, "malformed"),
        (ben, "1", 1, 2.0, "malformed"),
        (ben, True, 1, 2.0, "malformed"),
        (ben, None, None, 2.0, "malformed"),
    ]:
        with pytest.raises(Refused) as refused:
            game.answer(seat, number, typed, now)
        assert refused.value.code == code
    assert game.snapshot(2.0) == state
    assert game.answer(ben, 1, right(game), 3.0).right


def test_the_time_limit_ends_a_round() -> None:
    game, ada, ben = running()
    game.answer(ada, 1, right(game), 1.0)
    assert not game.tick(19.99)
    assert game.tick(20.0)
    assert game.phase is Phase.REVEAL
    assert (ada.marks, ben.marks) == ([Mark.RIGHT], [Mark.NONE])
    with pytest.raises(Refused, match="too late"):
        game.answer(ben, 1, right(game), 20.5)


def test_only_legal_moves() -> None:
    game = new_duel()
    with pytest.raises(AssertionError, match="no move"):
        game._move(Phase.REVEAL, None)
    with pytest.raises(Refused, match="already running"):
        running()[0].start(1.0)


# ---- coming and going


def test_a_round_does_not_wait_for_somebody_gone() -> None:
    game, ada, ben = running()
    game.answer(ada, 1, right(game), 1.0)
    game.go(ben, Presence.DROPPED, 2.0)
    assert game.phase is Phase.REVEAL


def test_token_or_name_bring_the_score_back() -> None:
    game, ada, ben = running()
    game.answer(ada, 1, right(game), 0.0)
    game.go(ada, Presence.DROPPED, 1.0)
    assert sit(game, "Somebody", ada.token, 2.0) is ada
    game.go(ada, Presence.LEFT, 3.0)
    assert sit(game, "aDA", None, 4.0) is ada
    assert (ada.score, ada.name, ada.presence) == (15, "Ada", Presence.HERE)
    assert len(game.seats) == 2
    assert ben.presence is Presence.HERE


def test_the_name_of_a_present_player_gets_a_number() -> None:
    game = new_duel()
    first, second, third = sit(game, "Ada"), sit(game, "ada", now=1.0), sit(game, "Ada", now=2.0)
    assert [seat.name for seat in (first, second, third)] == ["Ada", "ada 2", "Ada 3"]
    with pytest.raises(Refused) as refused:
        sit(game, "Ben")
    assert refused.value.code == "full"


def test_a_token_used_twice_replaces_the_first_connection() -> None:
    game = new_duel()
    ada = sit(game, "Ada")
    first = ada.sid
    seat, previous = game.sit("other tab", "Ada", ada.token, "unused", 1.0)
    assert (seat, previous, ada.sid) == (ada, first, "other tab")


def test_a_latecomer_has_missed_the_rounds_before() -> None:
    game, _, _ = running()
    game.tick(20.0)
    game.tick(24.0)
    assert game.round == 2
    cleo = sit(game, "Cleo", now=25.0)
    assert cleo.marks == [Mark.NONE]
    assert game.answer(cleo, 2, right(game), 26.0).right


def test_a_duel_without_players_pauses_and_goes_on() -> None:
    game, ada, ben = running()
    for seat in (ada, ben):
        game.go(seat, Presence.DROPPED, 1.0)
    assert game.phase is Phase.PROBLEM
    game.tick(20.0)
    game.tick(24.0)
    assert (game.phase, game.deadline) == (Phase.PAUSED, None)
    assert sit(game, "Ben", ben.token, 30.0) is ben
    assert (game.phase, game.round, game.deadline) == (Phase.PROBLEM, 2, 50.0)


def test_empty_seats_are_forgotten() -> None:
    game, ada, ben = running()
    game.go(ben, Presence.LEFT, 10.0)
    assert not game.forget_absent(609.9)
    assert game.forget_absent(610.0)
    assert list(game.seats.values()) == [ada]


# ---- the arena


@pytest.fixture
def hall() -> Arena:
    return Arena(PACE, random.Random(7))


def join(hall: Arena, sid: str, name: str, code: str = "K7QM", now: float = 0.0, **more: Any) -> Outcome:
    outcome = hall.join(sid, {"code": code, "name": name, **more}, now)
    assert outcome.reply["ok"], outcome.reply
    return outcome


def test_joining_tells_the_room_and_the_player(hall: Arena) -> None:
    outcome = join(hall, "s1", "Ada")
    assert outcome.enter == "K7QM"
    assert outcome.reply["you"] == 1
    assert [(notice.to, notice.event) for notice in outcome.notices] == [("K7QM", "lobby")]
    assert outcome.reply["token"] not in repr(outcome.notices)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (None, "malformed"), ([], "malformed"), ("K7QM", "malformed"), (3, "malformed"), ({}, "name"),
        ({"name": "Ada"}, "code"), ({"name": "Ada", "code": "k7qm"}, "code"),
        ({"name": "Ada", "code": ["K7QM"]}, "code"),
        ({"name": "Ada", "code": "K7QM\n"}, "code"), ({"name": ["Ada"], "code": "K7QM"}, "name"),
        ({"name": "Ada", "code": "K7QM", "token": 5}, "malformed"),
        ({"name": "Ada", "code": "K7QM", "token": "t" * 65}, "malformed"),
    ],
)  # fmt: skip
def test_malformed_joins_are_answered(hall: Arena, payload: object, code: str) -> None:
    outcome = hall.join("s1", payload, 0.0)
    assert (outcome.reply["ok"], outcome.reply["code"]) == (False, code)
    assert isinstance(outcome.reply["error"], str)
    assert outcome.notices == []
    assert hall.next_deadline() is None


def test_answers_from_outside_and_malformed_ones(hall: Arena) -> None:
    assert hall.answer("stranger", {"round": 1, "answer": 1}, 0.0).reply["code"] == "not_seated"
    assert hall.start("stranger", 0.0).reply["code"] == "not_seated"
    join(hall, "s1", "Ada")
    join(hall, "s2", "Ben")
    hall.start("s1", 0.0)
    payloads: list[object] = [None, [], "1", {}, {"round": []}, {"round": 1}, {"round": 1, "answer": {}}]
    for payload in payloads:
        assert hall.answer("s1", payload, 1.0).reply["code"] == "malformed"


def test_the_verdict_goes_to_everyone(hall: Arena) -> None:
    join(hall, "s1", "Ada")
    join(hall, "s2", "Ben")
    hall.start("s2", 0.0)
    outcome = hall.answer("s1", {"round": 1, "answer": "-1"}, 1.0)
    assert outcome.reply == {"ok": True, "right": False, "points": 0, "score": 0}
    assert [(notice.to, notice.event) for notice in outcome.notices] == [
        ("K7QM", "verdict"),
        ("K7QM", "lobby"),
    ]


def test_another_lobby_means_leaving_the_first(hall: Arena) -> None:
    join(hall, "s1", "Ada")
    outcome = join(hall, "s1", "Ada", code="ABCD", now=1.0)
    assert outcome.exits == [("K7QM", "s1")]
    view = hall.view("K7QM", 1.0)
    assert view is not None
    assert view["players"][0]["presence"] == "left"


def test_a_second_tab_with_the_token_replaces_the_first(hall: Arena) -> None:
    token = join(hall, "s1", "Ada").reply["token"]
    outcome = join(hall, "s2", "Ada", token=token)
    assert outcome.exits == [("K7QM", "s1")]
    assert [notice.event for notice in outcome.notices if notice.to == "s1"] == ["replaced"]
    assert hall.start("s1", 1.0).reply["code"] == "not_seated"
    assert hall.dropped("s1", 2.0).notices == []


def test_joining_twice_keeps_the_seat(hall: Arena) -> None:
    first, second = join(hall, "s1", "Ada"), join(hall, "s1", "Ada")
    assert first.reply["token"] == second.reply["token"]
    assert len(second.reply["lobby"]["players"]) == 1


def test_the_clock_moves_lobbies_and_closes_empty_ones(hall: Arena) -> None:
    join(hall, "s1", "Ada")
    assert hall.next_deadline() is None
    join(hall, "s2", "Ben")
    hall.start("s1", 100.0)
    assert hall.next_deadline() == 120.0
    assert [notice.payload["phase"] for notice in hall.tick(120.0).notices] == ["reveal"]
    hall.dropped("s1", 121.0)
    hall.leave("s2", 122.0)
    assert hall.next_deadline() == 124.0
    assert [notice.payload["phase"] for notice in hall.tick(124.0).notices] == ["paused"]
    assert hall.next_deadline() == 721.0
    hall.tick(721.0)
    hall.tick(722.0)
    assert hall.view("K7QM", 722.0) is None
    assert hall.next_deadline() is None


def test_a_limit_on_lobbies(hall: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena, "MAX_LOBBIES", 1)
    join(hall, "s1", "Ada")
    assert hall.join("s2", {"code": "ABCD", "name": "Ben"}, 0.0).reply["code"] == "busy"
    join(hall, "s2", "Ben")


def test_many_threads_keep_one_truth() -> None:
    """Eight players answer the same sum at the same moment, many times over: each is counted once."""
    crowd = Arena(Pace(rounds=40, max_seats=8), random.Random(3))
    for number in range(8):
        join(crowd, f"s{number}", f"P{number}")
    crowd.start("s0", 0.0)
    barrier = threading.Barrier(8)
    counted: list[int] = []

    def player(sid: str) -> None:
        for number in range(1, 41):
            barrier.wait(60.0)
            accepted = [
                crowd.answer(sid, {"round": number, "answer": 0}, number * 10.0).reply["ok"] for _ in range(3)
            ]
            counted.append(sum(accepted))
            if barrier.wait(60.0) == 0:
                crowd.tick(number * 10.0 + 5.0)

    threads = [threading.Thread(target=player, args=(f"s{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert counted == [1] * (8 * 40)
    view = crowd.view("K7QM", 500.0)
    assert view is not None
    assert [player["marks"] for player in view["players"]] == [["wrong"] * 40] * 8
    assert view["phase"] == "over"
