"""The table of drop-in: every name of it is there, and the packages that look for greenlets see none.

It must not know how a name is put in place: processes of their own import what others do.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from python_server.drop_in.importing import Replacer
from python_server.drop_in.modules import HOMES, MODULES, PACKAGES

INSTALL = "from python_server.drop_in.installing import install; install(parallel=True)\n"


@pytest.mark.parametrize("module", MODULES)
def test_every_name_is_there(module: str) -> None:
    replacer = Replacer(PACKAGES, MODULES, HOMES, lambda: None, {})
    names = dict(replacer.values(module))
    assert None not in names.values()
    assert module.partition(".")[0] in PACKAGES


def test_the_words_that_programs_import_are_the_packages_own() -> None:
    """Each of our names stands in the real package too, if that is installed (eventlet need not be)."""
    text = (
        "from importlib import import_module\n"
        "from python_server.drop_in.modules import MODULES\n"
        "from importlib.util import find_spec\n"
        "for module, words in MODULES.items():\n"
        "    if find_spec(module.partition('.')[0]) is None:\n"
        "        continue\n"
        "    real = import_module(module)\n"
        "    for word in words.rpartition(':')[2].split():\n"
        "        assert hasattr(real, word.partition('=')[0]), (module, word)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", text], capture_output=True, text=True)
    assert done.stderr == ""


LIBRARIES = {
    "kombu": "from kombu.utils.compat import detect_environment; assert detect_environment() == 'default'",
    "celery": "import celery, kombu.utils.compat as c; celery.Celery('x', broker='memory://').send_task('t')\n"
    "assert c.detect_environment() == 'default'",
    "sentry_sdk": "import sentry_sdk.utils as u; assert not u.is_gevent()\n"
    "assert not u._is_contextvars_broken(); import sentry_sdk.profiler; sentry_sdk.init()",
    "psycopg": "import psycopg.waiting as w; assert not w._is_select_patched()",
    "redis": "import redis; redis.Redis(); import redis.asyncio",
    "sqlalchemy": "import sqlalchemy; e = sqlalchemy.create_engine('sqlite://'); "
    "assert e.connect().execute(sqlalchemy.text('select 1')).scalar() == 1",
    "requests": "import requests, urllib3; requests.Session(); urllib3.PoolManager()",
    "gunicorn": "import gunicorn.app.base, gunicorn.workers.gthread, gunicorn.util",
    "django": "import django.core.handlers.wsgi, django.db, asgiref.local; asgiref.local.Local()",
}


@pytest.mark.parametrize(
    "program", ["", "import eventlet; eventlet.monkey_patch()\n"], ids=["gevent", "eventlet"]
)
@pytest.mark.parametrize("order", ["first", "last"])
def test_libraries_that_look_for_greenlets_see_threads(tmp_path: Path, order: str, program: str) -> None:
    """Whether they look before the program has imported the stand-ins, or after."""
    for library in LIBRARIES:
        pytest.importorskip(library)
    stand_ins = program or "import gevent.monkey, eventlet; gevent.monkey.patch_all()\n"
    looks = "\n".join(LIBRARIES.values()) + "\n"
    (tmp_path / "program.py").write_text(
        INSTALL + (looks + stand_ins if order == "first" else stand_ins + looks)
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "program.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
