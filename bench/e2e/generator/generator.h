/* The load generator's shared words: connections, prepared messages, the run, the meter.
 * Nothing here knows which server answers, nor which Python objects read the figures. */
#ifndef GENERATOR_H
#define GENERATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    SHARED_BUFFER_BYTES = 256 << 10,
    QUEUE_BYTES = 768,
    MAX_IN_FLIGHT = 64,
    MAX_PIDS = 64,
    HISTOGRAM_BUCKETS = 64 * 32,
};

enum protocol { PROTOCOL_BYTES, PROTOCOL_WEBSOCKET, PROTOCOL_SOCKETIO, PROTOCOL_HTTP };

/* The life of one connection until it may carry measured traffic. */
enum phase {
    PHASE_UNUSED,
    PHASE_CONNECTING,     /* TCP */
    PHASE_SECURING,       /* the TLS handshake */
    PHASE_UPGRADING,      /* waiting for the 101 */
    PHASE_OPENING,        /* waiting for Engine.IO's 0{...} */
    PHASE_JOINING_SPACE,  /* waiting for Socket.IO's 40 */
    PHASE_GREETING,       /* waiting for the ack of the mode's first event */
    PHASE_READY,
};

/* Messages prepared before the run: what goes out, and what must come back. Unless `apart`, they lie end to end. */
struct pool {
    int count;
    bool apart;
    char *wire;
    size_t *wire_at, *wire_end;      /* offsets into wire */
    char *reply;
    size_t *reply_at, *reply_end;    /* offsets into reply */
    unsigned char reply_opcode;
};

struct conn {
    int fd;
    int index;
    enum phase phase;
    bool wants_write;
    void *tls;
    bool sealed_message;  /* TLS took the next bytes of a message but could not send them yet */
    /* outgoing: control bytes first (at a message border only), then `owed` messages of the pool from `send_index` */
    char queue[QUEUE_BYTES];
    size_t queue_bytes;
    int send_index;
    size_t send_offset;
    long owed;
    /* incoming */
    char *rest;           /* the start of a message not yet whole */
    size_t rest_bytes, rest_capacity;
    size_t body_left;     /* of a message compared as it arrives */
    const char *body_at;
    /* in flight, oldest first */
    int flight_index[MAX_IN_FLIGHT];
    uint64_t flight_sent_ns[MAX_IN_FLIGHT];
    int flights;
    long slot_seen[MAX_IN_FLIGHT];  /* broadcast: the last sequence number received per slot */
    long received;
};

struct options {
    const char *mode, *host, *path, *expect;
    const char *trusted;      /* the certificate to trust; null: no TLS */
    int port, connections, in_flight, handshakes;
    int idle;                 /* connections beside the loaded ones, behind them in conns */
    int rooms;
    size_t payload_bytes;
    double seconds, warmup_seconds, window_seconds;
    bool text;
    int pids[MAX_PIDS], pid_count;
};

struct readings {
    double server_cpu, generator_cpu, busy_cpu, steal_cpu;
    uint64_t at_ns;
};

/* One measured way of loading a server; `frame` may be null where `bytes` is given, and the other way about. */
struct mode {
    const char *name;
    enum protocol protocol;
    void (*prepare)(void);
    const char *(*greeting)(const struct conn *);                         /* an event to be acked before it is ready, or null */
    void (*start)(void);                                                  /* every connection is ready */
    void (*ready)(struct conn *);                                         /* one connection became ready */
    size_t (*bytes)(struct conn *, const char *, size_t);                 /* consumed; unframed protocols */
    bool (*stream)(struct conn *, int opcode, size_t length);             /* true: compare the body as it arrives */
    void (*body_done)(struct conn *);
    void (*message)(struct conn *, int opcode, const char *, size_t);     /* a whole message */
};

extern struct options options;
extern const struct mode *mode;
extern struct pool pool;
extern struct conn *conns;
extern int ready_count, total_connections;
extern long pings_answered;
extern uint64_t now_ns;            /* read after every receive */

/* net.c */
void net_open_all(void);
void net_loop(bool (*until)(void));
void net_flush(struct conn *);
void net_queue(struct conn *, const char *, size_t);
void net_close_all(void);
uint64_t clock_ns(void);
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* tls.c */
void tls_begin(struct conn *);
bool tls_handshake(struct conn *);
bool tls_has_more(const struct conn *);
ssize_t tls_receive(struct conn *, char *, size_t);
ssize_t tls_send(struct conn *, const char *, size_t);
const char *tls_words(void);

/* websocket.c */
void random_bytes(void *, size_t);
size_t frame_header(char *out, int opcode, size_t length, const unsigned char *mask);
void frame_mask(char *out, const char *payload, size_t length, const unsigned char *mask);
void websocket_request(struct conn *);
void websocket_send_text(struct conn *, const char *);
size_t websocket_receive(struct conn *, const char *, size_t);

/* messages.c */
void pool_bytes(size_t payload_bytes);
void pool_websocket(size_t payload_bytes, bool text);
void pool_socketio(const char *event, bool ack);
void pool_http(void);
bool pool_matches(int index, const char *data, size_t length);

/* echo.c, broadcast.c, idle.c, http.c */
extern const struct mode mode_bytes_echo, mode_ws_echo, mode_sio_echo, mode_sio_ack, mode_sio_visit;
extern const struct mode mode_ws_broadcast, mode_sio_room, mode_ws_idle, mode_sio_idle, mode_http;
void idle_run(void);

/* meter.c */
void meter_run(void);
void meter_count(uint64_t sent_ns, long messages);
void meter_note_disorder(void);
void meter_print(const char *unit);
void meter_read(struct readings *);

#endif
