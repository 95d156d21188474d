/* Engine.IO by long polling: a client's first connection has a GET pending at all times, its second one POSTs packets.
 * It must not know what an event means; a session's packets that wait for its POST to be answered leave in one. */
#define _GNU_SOURCE
#include "generator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SID_BYTES = 64, OUTBOX_BYTES = 480, SEPARATOR = 0x1e };

static struct session {
    char sid[SID_BYTES], outbox[OUTBOX_BYTES];
    size_t outbox_bytes;
    bool posting, waits; /* for the answer to its POST; in the list below */
} *sessions;

/* Whose packets have not left yet. */
static int *waiting, waiting_count;

static struct session *session_of(const struct conn *c) { return &sessions[c->index / 2]; }
static bool posts(const struct conn *c) { return c->index & 1; }

void polling_prepare(const char *event) {
    sessions = calloc((size_t)options.connections, sizeof *sessions);
    waiting = calloc((size_t)options.connections, sizeof *waiting);
    if (!sessions || !waiting) fail("no memory for the sessions");
    pool_packets(event);
}

static void poll(struct conn *c) {
    char request[QUEUE_BYTES];
    const char *sid = session_of(c)->sid;
    int length = snprintf(request, sizeof request, "GET %s%s%s HTTP/1.1\r\nHost: %s:%d\r\n\r\n", options.path,
                          *sid ? "&sid=" : "", sid, options.host, options.port);
    net_queue(c, request, (size_t)length);
}

static void post(struct conn *c, struct session *session) {
    char request[QUEUE_BYTES];
    int length = snprintf(request, sizeof request,
                          "POST %s&sid=%s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: text/plain;charset=UTF-8\r\n"
                          "Content-Length: %zu\r\n\r\n",
                          options.path, session->sid, options.host, options.port, session->outbox_bytes);
    net_queue(c, request, (size_t)length);
    net_queue(c, session->outbox, session->outbox_bytes);
    session->outbox_bytes = 0;
    session->posting = true;
    net_flush(c);
}

/* Before every wait: what has gathered leaves, unless its session's last POST has no answer yet. */
uint64_t polling_turn(void) {
    int kept = 0;
    for (int i = 0; i < waiting_count; i++) {
        struct session *session = &sessions[waiting[i]];
        struct conn *poster = &conns[2 * waiting[i] + 1];
        if (session->posting || poster->phase != PHASE_READY) {
            waiting[kept++] = waiting[i];
            continue;
        }
        session->waits = false;
        post(poster, session);
    }
    waiting_count = kept;
    return IDLE_NS;
}

static void add_packet(struct conn *c, const char *packet, size_t length) {
    struct session *session = session_of(c);
    if (session->outbox_bytes + 1 + length > OUTBOX_BYTES) fail("connection %d: too many packets wait", c->index);
    if (session->outbox_bytes) session->outbox[session->outbox_bytes++] = SEPARATOR;
    memcpy(session->outbox + session->outbox_bytes, packet, length);
    session->outbox_bytes += length;
    if (!session->waits) waiting[waiting_count++] = c->index / 2;
    session->waits = true;
}

void polling_send(struct conn *c) {
    int index = c->send_index;
    add_packet(c, pool.wire + pool.wire_at[index], pool.wire_end[index] - pool.wire_at[index]);
    c->send_index = index + 1 == pool.count ? 0 : index + 1;
}

void polling_opened(struct conn *c) {
    if (posts(c)) {
        c->phase = PHASE_READY;
        ready_count++;
        return;
    }
    c->phase = PHASE_OPENING;
    poll(c);
}

static void take_sid(struct conn *c, const char *data, size_t length) {
    static const char NAME[] = "\"sid\":\"";
    const char *at = memmem(data, length, NAME, sizeof NAME - 1);
    const char *end = at ? memchr(at + sizeof NAME - 1, '"', length - (size_t)(at + sizeof NAME - 1 - data)) : NULL;
    if (!end || end - at - (long)sizeof NAME + 1 >= SID_BYTES) fail("connection %d: no session id", c->index);
    memcpy(session_of(c)->sid, at + sizeof NAME - 1, (size_t)(end - at) - sizeof NAME + 1);
}

static void packet(struct conn *c, const char *data, size_t length) {
    const char *greeting = mode->greeting ? mode->greeting(c) : NULL;
    if (length == 1 && *data == '6') return; /* a noop ends a poll that had nothing to say */
    if (length == 1 && *data == '2') {
        pings_answered++;
        add_packet(c, "3", 1);
        return;
    }
    switch (c->phase) {
    case PHASE_OPENING:
        expect_start(c, data, length, "0{");
        take_sid(c, data, length);
        add_packet(c, "40", 2);
        c->phase = PHASE_JOINING_SPACE;
        return;
    case PHASE_JOINING_SPACE:
        expect_start(c, data, length, "40{");
        if (!greeting) break;
        add_packet(c, greeting, strlen(greeting));
        c->phase = PHASE_GREETING;
        return;
    case PHASE_GREETING:
        expect_start(c, data, length, "430[");
        break;
    default:
        mode->message(c, pool.reply_opcode, data, length);
        return;
    }
    c->phase = PHASE_READY;
    ready_count++;
}

size_t polling_bytes(struct conn *c, const char *data, size_t length) {
    const char *body;
    size_t body_bytes, used = http_response(c, data, length, &body, &body_bytes);
    if (!used) return 0;
    if (posts(c)) {
        session_of(c)->posting = false;
        if (c->last_answer) net_reopen(c);
        return used;
    }
    for (const char *at = body, *end = body + body_bytes; at < end;) {
        const char *stop = memchr(at, SEPARATOR, (size_t)(end - at));
        if (!stop) stop = end;
        packet(c, at, (size_t)(stop - at));
        at = stop + 1;
    }
    if (c->last_answer) net_reopen(c);
    poll(c);
    return used;
}
