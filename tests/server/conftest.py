"""What every test of the server begins with.

It must not know any test.
"""

import pytest

from python_server.serve.called_servers import UNMOUNTED


@pytest.fixture(autouse=True)
def no_others_servers() -> None:
    """One that an earlier test has made, and that is not collected yet, would be found and served as well."""
    UNMOUNTED.clear()
