/* HTTP: a response's body, by Content-Length or in chunks; and a mode of keep-alive GETs, one in flight per connection.
 * It must not know WSGI; a response needs a status of 200, and in the mode the expected body. */
#define _GNU_SOURCE
#include "generator.h"

#include <stdlib.h>
#include <string.h>

static void send_next(struct conn *c, uint64_t since_ns) {
    c->flights = 1;
    c->flight_sent_ns[0] = since_ns;
    c->owed++;
}

static void send_due(struct conn *c) {
    uint64_t since_ns;
    if (!c->flights && pace_take(c, &since_ns)) send_next(c, since_ns);
}

static void start(void) {
    for (int i = 0; i < options.connections && !options.rate; i++) {
        now_ns = clock_ns();
        send_next(&conns[i], now_ns);
        net_flush(&conns[i]);
    }
}

static const char *field(const char *head, size_t length, const char *name) {
    size_t name_bytes = strlen(name);
    for (const char *at = head; (at = memchr(at, '\n', (size_t)(head + length - at))); at++)
        if ((size_t)(head + length - at) > name_bytes && !strncasecmp(at + 1, name, name_bytes)) return at + 1 + name_bytes;
    return NULL;
}

/* The end of the last chunk, or 0 while it is not there; the chunks' contents end to end in `joined`. */
static size_t join_chunks(const char *data, size_t length, char *joined, size_t *joined_bytes) {
    size_t at = 0, size = 1;
    for (*joined_bytes = 0; size; at += size + 2) {
        const char *line_end = memmem(data + at, length - at, "\r\n", 2);
        if (!line_end) return 0;
        size = strtoul(data + at, NULL, 16);
        at = (size_t)(line_end - data) + 2;
        if (length - at < 2 || length - at - 2 < size) return 0;
        memcpy(joined + *joined_bytes, data + at, size);
        *joined_bytes += size;
    }
    return at;
}

/* Returns how many bytes the response takes, 0 while it is not whole. */
size_t http_response(struct conn *c, const char *data, size_t length, const char **body, size_t *body_bytes) {
    static char joined[SHARED_BUFFER_BYTES];
    const char *end = memmem(data, length, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = (size_t)(end - data) + 4;
    if (strncmp(data, "HTTP/1.1 200", 12))
        fail("connection %d: %.*s", c->index, (int)strcspn(data, "\r\n"), data);
    c->last_answer = field(data, head, "connection: close") != NULL;
    const char *length_field = field(data, head, "content-length:");
    *body = data + head;
    if (!length_field) {
        if (!field(data, head, "transfer-encoding: chunked"))
            fail("connection %d: a response without Content-Length", c->index);
        *body = joined;
        size_t chunks = join_chunks(data + head, length - head, joined, body_bytes);
        return chunks ? head + chunks : 0;
    }
    *body_bytes = strtoul(length_field, NULL, 10);
    return length - head < *body_bytes ? 0 : head + *body_bytes;
}

static size_t bytes(struct conn *c, const char *data, size_t length) {
    const char *body;
    size_t body_bytes, used = http_response(c, data, length, &body, &body_bytes);
    if (!used) return 0;
    if (used < length) fail("connection %d: more than one response", c->index);
    if (!pool_matches(0, body, body_bytes)) fail("connection %d: a wrong body", c->index);
    meter_count(c->flight_sent_ns[0], 1);
    c->flights = 0;
    if (options.rate > 0)
        send_due(c);
    else
        send_next(c, now_ns);
    return used;
}

const struct mode mode_http = {.name = "http",
                               .protocol = PROTOCOL_HTTP,
                               .prepare = pool_http,
                               .start = start,
                               .send_due = send_due,
                               .bytes = bytes};
