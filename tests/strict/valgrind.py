"""A named hundred of the tests under memcheck: no error and no lost memory in a stack of the extension.

It must not suppress by rule: errors whose stack has no function of the extension are counted and shown.

    .venv/bin/python tests/strict/valgrind.py

The interpreter takes each object from malloc, so that memcheck knows where it begins and ends. A test that is
not there any more fails the run with its name. What memcheck said stays in build/strict.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "build" / "strict" / "valgrind.xml"
TESTS_MIN_COUNT = 100
# Each way of bytes through the extension: in, lent, out, shared, compressed, refused.
TESTS = {
    "wsframe/test_decoder.py": "",
    "wsframe/test_loans.py": "",
    "wsframe/test_connection.py": "",
    "wsframe/test_outbox.py": """test_frames_leave_together_and_in_order test_one_message_is_one_frame
        test_one_piece_is_not_copied_and_never_changed test_what_is_shared_stays_shared
        test_a_closed_one_gives_what_it_held_and_takes_no_more test_it_lets_go_of_whom_it_would_wake
        test_who_is_woken_may_take_at_once test_a_fault_of_who_is_woken_leaves_the_frame""",
    "wsframe/test_codec.py": """test_masks_on_other_buffers test_encode_text test_refused_headers
        test_the_callers_mistakes_with_masks test_the_callers_mistakes_with_frames""",
    "wsframe/test_text_answer.py": "test_a_byte_that_begins_no_character_is_refused_at_once",
    "server/connection/test_websocket_channel.py": """test_messages_in_both_directions
        test_a_large_message_is_received_into_its_own_storage
        test_a_fault_is_answered_after_what_came_before_it
        test_shared_messages_are_compressed_for_who_agreed_to_no_context
        test_many_messages_of_one_chunk_leave_others_their_turn""",
    "server/websocket/test_application.py": "test_broadcast_and_close_all test_the_life_of_a_connection",
    "server/engineio/test_server.py": """test_upgrade_step_by_step test_websocket_pings
        test_a_wrong_first_frame_ends_the_websocket_alone test_a_lost_websocket""",
}
MEMCHECK = "--tool=memcheck --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite"
# Origins: of bytes that were never written the stack that took the memory is shown, and judged, too.
MEMCHECK += " --track-origins=yes --num-callers=40 --child-silent-after-fork=yes --xml=yes"


def named() -> list[str]:
    return [
        f"tests/{file}{'::' * bool(test)}{test}"
        for file, tests in TESTS.items()
        for test in tests.split() or [""]
    ]


def is_of_the_extension(error: ElementTree.Element) -> bool:
    """Not what tracemalloc, which some tests start, notes of a block: it forgets a note when it stops."""
    frames = [(frame.findtext("obj") or "", frame.findtext("fn")) for frame in error.iter("frame")]
    return any("/wsframe/_codec" in place for place, _ in frames) and all(
        function != "traceback_new" for _, function in frames
    )


def described(error: ElementTree.Element) -> str:
    what = error.findtext("what") or error.findtext("xwhat/text")
    frames = [f"  {frame.findtext('fn')} in {frame.findtext('obj')}" for frame in error.iter("frame")]
    return "\n".join([f"{error.findtext('kind')}: {what}", *frames[:12]])


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that valgrind is ended with us
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        print("valgrind is not installed")
        return 1
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.unlink(missing_ok=True)
    command = [valgrind, *MEMCHECK.split(), f"--xml-file={REPORT}", sys.executable, "-P", "-m", "pytest"]
    command += ["-q", "-p", "no:cacheprovider", "-k", "not _pure", *named()]
    environment: dict[str, Any] = {**os.environ, "PYTHONMALLOC": "malloc"}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    print(done.stdout, end="")
    passed = re.search(r"(\d+) passed", done.stdout)
    errors = list(ElementTree.parse(REPORT).getroot().iter("error")) if REPORT.exists() else []
    ours = [error for error in errors if is_of_the_extension(error)]
    print("\n".join(map(described, ours)))
    print(f"valgrind: {len(ours)} errors of the extension, {len(errors) - len(ours)} of others")
    if passed is None or int(passed[1]) < TESTS_MIN_COUNT:
        print(f"fewer than {TESTS_MIN_COUNT} tests passed")
        return 1
    return done.returncode or bool(ours)


if __name__ == "__main__":
    sys.exit(main())
