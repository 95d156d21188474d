"""What every test of the server begins with.

It must not know any test.
"""

import pytest

from python_server.serve.called_servers import UNMOUNTED
from python_server.serve.serve import ON_START


@pytest.fixture(autouse=True)
def no_others_servers() -> None:
    """One that an earlier test has made, and that is not collected yet, would be found and served as well.

    What a command line of an earlier test would have said at its start is said by nobody else.
    """
    UNMOUNTED.clear()
    ON_START.clear()
