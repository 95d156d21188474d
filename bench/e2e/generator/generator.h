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
    IDLE_NS = 100000000, /* the longest wait for events */
};

enum protocol { PROTOCOL_BYTES, PROTOCOL_WEBSOCKET, PROTOCOL_SOCKETIO, PROTOCOL_HTTP, PROTOCOL_POLLING };

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
    enum phase phase, resumed; /* `resumed`: where it goes on when it is connected again */
    bool wants_write;
    bool last_answer;     /* HTTP: the server ends the connection behind it */
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
    long due, paced;      /* open loop: messages that have fallen due and wait; those that were taken */
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
    double rate;              /* messages per second over all connections; 0: an answer brings the next one out */
    bool text, deflate;
    int pids[MAX_PIDS], pid_count;
    bool family;              /* the processes' descendants count as well, those there are when the window begins */
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
    void (*opened)(struct conn *);                                        /* TCP is up; polling's first request */
    uint64_t (*turn)(void);                                               /* before every wait, and how long that may be */
    void (*send)(struct conn *);                                          /* the pool's next message; null: as it stands there */
    void (*send_due)(struct conn *);                                      /* open loop: something has fallen due */
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
struct conn *client(int number);   /* its connection, the first of two with polling */
void net_open_all(void);
void net_loop(bool (*until)(void));
void net_flush(struct conn *);
void net_queue(struct conn *, const char *, size_t);
void net_reopen(struct conn *);
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
void expect_start(struct conn *, const char *data, size_t length, const char *with);
size_t websocket_receive(struct conn *, const char *, size_t);

/* messages.c */
void pool_bytes(size_t payload_bytes);
void pool_websocket(size_t payload_bytes, bool text);
void pool_socketio(const char *event, bool ack);
void pool_packets(const char *event);
void pool_http(void);
bool pool_matches(int index, const char *data, size_t length);

/* deflate.c */
const char *deflate_offer(void);
void deflate_agree(const struct conn *, const char *answer);
size_t deflate_message(char *out, size_t capacity, const char *text, size_t length);
const char *inflate_message(const struct conn *, const char *data, size_t *length);
const char *deflate_words(void);

/* polling.c */
void polling_prepare(const char *event);
void polling_opened(struct conn *);
void polling_send(struct conn *);
uint64_t polling_turn(void);
size_t polling_bytes(struct conn *, const char *, size_t);

/* pace.c */
void pace_start(void);
bool pace_take(struct conn *, uint64_t *since_ns);
uint64_t pace_turn(void);
void pace_count_unanswered(void);
double pace_late_us(void);

/* echo.c, broadcast.c, idle.c, http.c */
extern const struct mode mode_bytes_echo, mode_ws_echo, mode_sio_echo, mode_sio_ack, mode_sio_visit, mode_lp_echo;
extern const struct mode mode_ws_broadcast, mode_sio_room, mode_lp_room, mode_ws_idle, mode_sio_idle, mode_http;
void idle_run(void);
size_t http_response(struct conn *, const char *data, size_t length, const char **body, size_t *body_bytes);

/* meter.c */
void meter_run(void);
void meter_count(uint64_t sent_ns, long messages);
void meter_note_disorder(void);
void meter_note_uncompressed(void);
void meter_print(const char *unit);
void meter_read(struct readings *);

#endif
