/* HTTP mode: keep-alive GETs, one in flight per connection, every body compared with the expected one.
 * It must not know WSGI; a response needs a status of 200 and a Content-Length. */
#define _GNU_SOURCE
#include "generator.h"

#include <stdlib.h>
#include <string.h>

static void send_next(struct conn *c) {
    c->flight_sent_ns[0] = now_ns;
    c->owed++;
}

static void start(void) {
    for (int i = 0; i < options.connections; i++) {
        now_ns = clock_ns();
        send_next(&conns[i]);
        net_flush(&conns[i]);
    }
}

static long content_length(const char *head, size_t length) {
    static const char NAME[] = "\ncontent-length:";
    for (const char *at = head; (at = memchr(at, '\n', (size_t)(head + length - at))); at++)
        if ((size_t)(head + length - at) > sizeof NAME && !strncasecmp(at, NAME, sizeof NAME - 1))
            return strtol(at + sizeof NAME - 1, NULL, 10);
    return -1;
}

static size_t bytes(struct conn *c, const char *data, size_t length) {
    const char *end = memmem(data, length, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = (size_t)(end - data) + 4;
    if (strncmp(data, "HTTP/1.1 200", 12))
        fail("connection %d: %.*s", c->index, (int)strcspn(data, "\r\n"), data);
    long body = content_length(data, head);
    if (body < 0) fail("connection %d: a response without Content-Length", c->index);
    if (length < head + (size_t)body) return 0;
    if (length > head + (size_t)body) fail("connection %d: more than one response", c->index);
    if (!pool_matches(0, data + head, (size_t)body)) fail("connection %d: a wrong body", c->index);
    meter_count(c->flight_sent_ns[0], 1);
    send_next(c);
    return length;
}

const struct mode mode_http = {
    .name = "http", .protocol = PROTOCOL_HTTP, .prepare = pool_http, .start = start, .bytes = bytes};
