"""The application of several machines: beside the told events it keeps clients' numbered ones, each once.

It must not know how many machines there are, or when Redis is away.
"""

import os

import redis
from delivery_app import app, socketio
from redis.backoff import ConstantBackoff
from redis.retry import Retry

__all__ = ["app"]
AWAY_SECONDS, AGAIN_SECONDS = 120.0, 0.05
# A number that is not above the last one has come before. The answer may be lost: asked again, it says so.
KEEP = """
if tonumber(ARGV[1]) <= tonumber(redis.call('LINDEX', KEYS[1], -1) or '0') then return 0 end
redis.call('RPUSH', KEYS[1], ARGV[1])
return 1
"""
store = redis.Redis.from_url(
    os.environ["STORE"],
    retry=Retry(ConstantBackoff(AGAIN_SECONDS), int(AWAY_SECONDS / AGAIN_SECONDS)),
    retry_on_error=[redis.ConnectionError, redis.TimeoutError],
)
keep_number = store.register_script(KEEP)


@socketio.on("keep")
def keep(client: int, number: int) -> bool:
    """Is it new? It is on disk when this is acknowledged."""
    return bool(keep_number([f"kept {client}"], [number]))
