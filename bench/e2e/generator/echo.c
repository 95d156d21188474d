/* Echo modes: K messages in flight per connection; each answer brings the next message out.
 * They must not know sockets; what an answer has to be stands in the pool. */
#include "generator.h"

#include <stdio.h>
#include <string.h>

static void put_in_flight(struct conn *c, uint64_t since_ns) {
    int at = c->flights++;
    c->flight_index[at] = (int)((c->send_index + c->owed) % pool.count);
    c->flight_sent_ns[at] = since_ns;
    if (mode->send)
        mode->send(c);
    else
        c->owed++;
}

static void send_due(struct conn *c) {
    uint64_t since_ns;
    while (c->flights < MAX_IN_FLIGHT && pace_take(c, &since_ns)) put_in_flight(c, since_ns);
}

static void answered(struct conn *c, int position) {
    meter_count(c->flight_sent_ns[position], 1);
    c->flights--;
    for (int i = position; i < c->flights; i++) {
        c->flight_index[i] = c->flight_index[i + 1];
        c->flight_sent_ns[i] = c->flight_sent_ns[i + 1];
    }
    if (options.rate > 0)
        send_due(c);
    else
        put_in_flight(c, now_ns);
}

/* Connections begin at different messages, so that an answer to the wrong client is noticed. */
static void start(void) {
    for (int i = 0; i < options.connections; i++) {
        struct conn *c = client(i);
        c->send_index = i * 37 % pool.count;
        now_ns = clock_ns();
        for (int k = 0; k < options.in_flight && !options.rate; k++) put_in_flight(c, now_ns);
        net_flush(c);
    }
}

static void expect_body(struct conn *c, size_t length) {
    if (!c->flights) fail("connection %d: an answer nobody asked for", c->index);
    int index = c->flight_index[0];
    c->body_at = pool.reply + pool.reply_at[index];
    c->body_left = pool.reply_end[index] - pool.reply_at[index];
    if (length != c->body_left)
        fail("connection %d: an echo of %zu bytes instead of %zu", c->index, length, c->body_left);
}

static bool stream(struct conn *c, int opcode, size_t length) {
    if (opcode != pool.reply_opcode) fail("connection %d: an echo with opcode %d", c->index, opcode);
    expect_body(c, length);
    return true;
}

static void body_done(struct conn *c) { answered(c, 0); }

/* Socket.IO servers that start a thread per event may answer in another order; counted, not refused. */
static void message(struct conn *c, int opcode, const char *data, size_t length) {
    if (opcode != pool.reply_opcode) fail("connection %d: an answer with opcode %d", c->index, opcode);
    for (int i = 0; i < c->flights; i++) {
        if (!pool_matches(c->flight_index[i], data, length)) continue;
        if (i) meter_note_disorder();
        answered(c, i);
        return;
    }
    fail("connection %d: a wrong answer: %.*s", c->index, (int)(length < 120 ? length : 120), data);
}

static size_t bytes(struct conn *c, const char *data, size_t length) {
    size_t at = 0;
    while (at < length) {
        if (!c->body_left) expect_body(c, options.payload_bytes);
        size_t some = length - at < c->body_left ? length - at : c->body_left;
        if (memcmp(data + at, c->body_at, some)) fail("connection %d: the echo differs", c->index);
        c->body_at += some;
        c->body_left -= some;
        at += some;
        if (!c->body_left) answered(c, 0);
    }
    return at;
}

static void prepare_bytes(void) { pool_bytes(options.payload_bytes); }
static void prepare_ws(void) { pool_websocket(options.payload_bytes, options.text); }
static void prepare_lp_echo(void) { polling_prepare("echo"); }
static void prepare_sio_echo(void) { pool_socketio("echo", false); }
static void prepare_sio_ack(void) { pool_socketio("echo_ack", true); }

/* A visit: the server joins the client to a room, emits there, and takes it out. The last connection fills the rooms. */
static void prepare_sio_visit(void) { pool_socketio("visit", false); }

static const char *fill_rooms(const struct conn *c) {
    static char text[40];
    if (c->index < options.connections) return NULL;
    snprintf(text, sizeof text, "420[\"fill\",%d]", options.rooms);
    return text;
}

const struct mode mode_bytes_echo = {
    .name = "bytes-echo", .protocol = PROTOCOL_BYTES, .prepare = prepare_bytes, .start = start, .send_due = send_due, .bytes = bytes};
const struct mode mode_ws_echo = {.name = "ws-echo",
                                  .protocol = PROTOCOL_WEBSOCKET,
                                  .prepare = prepare_ws,
                                  .start = start,
                                  .send_due = send_due,
                                  .stream = stream,
                                  .body_done = body_done,
                                  .message = message};
const struct mode mode_sio_echo = {.name = "sio-echo",
                                   .protocol = PROTOCOL_SOCKETIO,
                                   .prepare = prepare_sio_echo,
                                   .start = start,
                                   .send_due = send_due,
                                   .message = message};
const struct mode mode_sio_ack = {.name = "sio-ack",
                                  .protocol = PROTOCOL_SOCKETIO,
                                  .prepare = prepare_sio_ack,
                                  .start = start,
                                  .send_due = send_due,
                                  .message = message};
const struct mode mode_lp_echo = {.name = "lp-echo",
                                  .protocol = PROTOCOL_POLLING,
                                  .prepare = prepare_lp_echo,
                                  .start = start,
                                  .opened = polling_opened,
                                  .turn = polling_turn,
                                  .send = polling_send,
                                  .bytes = polling_bytes,
                                  .message = message};
const struct mode mode_sio_visit = {.name = "sio-visit",
                                    .protocol = PROTOCOL_SOCKETIO,
                                    .prepare = prepare_sio_visit,
                                    .greeting = fill_rooms,
                                    .start = start,
                                    .message = message};
