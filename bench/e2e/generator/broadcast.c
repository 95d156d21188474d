/* Broadcast modes: the first connection sends, every connection (it too) must receive; M broadcasts in flight.
 * They must not know how the server fans out; a delivery is matched by its bytes, in any order. */
#include "generator.h"

/* One broadcast under way per slot. */
static struct {
    int message_index, left;
    long sequence;
    uint64_t sent_ns;
} slots[MAX_IN_FLIGHT];

static long last_sequence;

/* With polling everybody must have asked again before the next one. For that there is as much time as the last one took,
 * and some more; when it is over. */
enum { REST_NS = 200000000 };
static uint64_t rested_ns;

static void send_next(int slot) {
    struct conn *sender = client(0);
    slots[slot].message_index = (int)((sender->send_index + sender->owed) % pool.count);
    slots[slot].left = options.connections;
    slots[slot].sequence = ++last_sequence;
    slots[slot].sent_ns = now_ns;
    if (mode->send)
        mode->send(sender);
    else
        sender->owed++;
}

static uint64_t turn(void) {
    if (rested_ns && now_ns >= rested_ns) {
        rested_ns = 0;
        send_next(0);
    }
    uint64_t wait_ns = polling_turn();
    return rested_ns && rested_ns - now_ns < wait_ns ? rested_ns - now_ns : wait_ns;
}

static void start(void) {
    now_ns = clock_ns();
    for (int slot = 0; slot < options.in_flight; slot++) send_next(slot);
    net_flush(&conns[0]);
}

static void message(struct conn *c, int opcode, const char *data, size_t length) {
    if (opcode != pool.reply_opcode) fail("connection %d: a delivery with opcode %d", c->index, opcode);
    int guess = (int)(c->received % options.in_flight);
    for (int i = 0; i < options.in_flight; i++) {
        int slot = (guess + i) % options.in_flight;
        if (c->slot_seen[slot] == slots[slot].sequence) continue;
        if (!pool_matches(slots[slot].message_index, data, length)) continue;
        if (i) meter_note_disorder();
        c->slot_seen[slot] = slots[slot].sequence;
        c->received++;
        meter_count(0, 1);
        if (--slots[slot].left) return;
        meter_count(slots[slot].sent_ns, 0);
        if (mode->turn) {
            rested_ns = now_ns + (now_ns - slots[slot].sent_ns) + REST_NS;
            return;
        }
        send_next(slot);
        net_flush(&conns[0]);
        return;
    }
    fail("connection %d: a wrong delivery: %.*s", c->index, (int)(length < 120 ? length : 120), data);
}

static const char *join(const struct conn *c) {
    (void)c;
    return "420[\"join\"]";
}

static void prepare_ws(void) { pool_websocket(options.payload_bytes, options.text); }
static void prepare_sio(void) { pool_socketio("say", false); }
static void prepare_lp(void) { polling_prepare("say"); }

const struct mode mode_ws_broadcast = {.name = "ws-broadcast",
                                       .protocol = PROTOCOL_WEBSOCKET,
                                       .prepare = prepare_ws,
                                       .start = start,
                                       .message = message};
const struct mode mode_sio_room = {.name = "sio-room",
                                   .protocol = PROTOCOL_SOCKETIO,
                                   .prepare = prepare_sio,
                                   .greeting = join,
                                   .start = start,
                                   .message = message};
const struct mode mode_lp_room = {.name = "lp-room",
                                  .protocol = PROTOCOL_POLLING,
                                  .prepare = prepare_lp,
                                  .greeting = join,
                                  .start = start,
                                  .opened = polling_opened,
                                  .turn = turn,
                                  .send = polling_send,
                                  .bytes = polling_bytes,
                                  .message = message};
