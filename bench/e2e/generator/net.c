/* Non-blocking connections on one epoll: bring-up, receiving into one shared buffer, gathered sending.
 * It knows phases and bytes; it must not know what a message means or how a run is timed. */
#define _GNU_SOURCE
#include "generator.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_PER_WAIT = 512, STUCK_SECONDS = 20 };

struct conn *conns;
int ready_count, total_connections;
uint64_t now_ns;

static int epoll_fd = -1, opened_count;
static char shared[SHARED_BUFFER_BYTES];
static uint64_t progress_ns;

_Noreturn void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("generator: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

struct conn *client(int number) { return &conns[number * (mode->protocol == PROTOCOL_POLLING ? 2 : 1)]; }

uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void watch(struct conn *c, int operation) {
    struct epoll_event event = {.events = EPOLLIN | (c->wants_write ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(epoll_fd, operation, c->fd, &event) < 0) fail("epoll_ctl: %s", strerror(errno));
}

static void set_wants_write(struct conn *c, bool wanted) {
    if (c->wants_write == wanted) return;
    c->wants_write = wanted;
    watch(c, EPOLL_CTL_MOD);
}

/* Several loopback source addresses: one alone runs out of ports at 28,000 connections. */
static void open_one(struct conn *c, int index) {
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    int one = 1;
    c->index = index;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (total_connections > 1000) {
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (unsigned)(index % 4));
        if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0) fail("bind: %s", strerror(errno));
    }
    to.sin_port = htons((uint16_t)options.port);
    if (inet_pton(AF_INET, options.host, &to.sin_addr) != 1) fail("%s is not an IPv4 address", options.host);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    c->phase = PHASE_CONNECTING;
    c->wants_write = true;
    watch(c, EPOLL_CTL_ADD);
}

static void open_more(void) {
    while (opened_count < total_connections && opened_count - ready_count < options.handshakes) {
        open_one(&conns[opened_count], opened_count);
        opened_count++;
    }
}

void net_open_all(void) {
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc((size_t)total_connections, sizeof *conns);
    if (epoll_fd < 0 || !conns) fail("no epoll or no memory");
    now_ns = progress_ns = clock_ns();
    open_more();
}

/* After a server's last answer: the same connection, as far as a mode can tell. */
void net_reopen(struct conn *c) {
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(c->fd);
    c->resumed = c->phase;
    open_one(c, c->index);
}

/* A reset instead of a FIN: the next run must not meet thousands of ports in TIME_WAIT. */
void net_close_all(void) {
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    for (int i = 0; i < opened_count; i++) {
        if (total_connections > 64) setsockopt(conns[i].fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(conns[i].fd);
    }
}

void net_queue(struct conn *c, const char *data, size_t length) {
    if (c->queue_bytes + length > QUEUE_BYTES) fail("connection %d: too many control bytes wait", c->index);
    memcpy(c->queue + c->queue_bytes, data, length);
    c->queue_bytes += length;
}

/* Control bytes go out at a message border only, and never before a message that TLS has sealed. */
static bool queue_is_next(const struct conn *c) { return c->queue_bytes && c->send_offset == 0 && !c->sealed_message; }

/* Up to one turn round the pool per call, as at most three pieces in one system call. */
static size_t gather(const struct conn *c, struct iovec *pieces, int *count) {
    size_t total = 0;
    int n = 0;
    if (queue_is_next(c)) {
        pieces[n++] = (struct iovec){(void *)c->queue, c->queue_bytes};
        total += c->queue_bytes;
    }
    if (c->owed) {
        long most = pool.apart ? 1 : pool.count, messages = c->owed < most ? c->owed : most;
        int last = c->send_index + (int)messages;
        int first_end = last < pool.count ? last : pool.count;
        size_t start = pool.wire_at[c->send_index] + c->send_offset;
        pieces[n++] = (struct iovec){pool.wire + start, pool.wire_end[first_end - 1] - start};
        total += pool.wire_end[first_end - 1] - start;
        if (last > pool.count) {
            pieces[n++] = (struct iovec){pool.wire, pool.wire_end[last - pool.count - 1]};
            total += pool.wire_end[last - pool.count - 1];
        }
    }
    *count = n;
    return total;
}

static void advance(struct conn *c, size_t sent) {
    if (queue_is_next(c)) {
        size_t queued = sent < c->queue_bytes ? sent : c->queue_bytes;
        memmove(c->queue, c->queue + queued, c->queue_bytes - queued);
        c->queue_bytes -= queued;
        sent -= queued;
    }
    while (sent) {
        size_t left = pool.wire_end[c->send_index] - pool.wire_at[c->send_index] - c->send_offset;
        if (sent < left) {
            c->send_offset += sent;
            return;
        }
        sent -= left;
        c->send_offset = 0;
        c->send_index = c->send_index + 1 == pool.count ? 0 : c->send_index + 1;
        c->owed--;
    }
}

static ssize_t put(struct conn *c, const struct iovec *pieces, int count) {
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count};
    if (c->tls) return tls_send(c, pieces->iov_base, pieces->iov_len);
    return count == 1 ? send(c->fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL)
                      : sendmsg(c->fd, &message, MSG_NOSIGNAL);
}

void net_flush(struct conn *c) {
    while (c->queue_bytes || c->owed) {
        struct iovec pieces[3];
        int count;
        size_t total = gather(c, pieces, &count);
        ssize_t sent = put(c, pieces, count);
        if (sent < 0 && errno != EAGAIN) fail("connection %d: send: %s", c->index, strerror(errno));
        if (sent > 0) advance(c, (size_t)sent);
        if (c->tls) {
            c->sealed_message = sent < 0 && !queue_is_next(c);
            if (sent > 0) continue; /* TLS takes a record at a time */
        }
        if (sent < (ssize_t)total) {
            set_wants_write(c, true);
            return;
        }
    }
    set_wants_write(c, false);
}

static void open_protocol(struct conn *c) {
    if (c->resumed) {
        c->phase = c->resumed;
        c->resumed = PHASE_UNUSED;
    } else if (mode->protocol == PROTOCOL_WEBSOCKET || mode->protocol == PROTOCOL_SOCKETIO) {
        c->phase = PHASE_UPGRADING;
        websocket_request(c);
    } else if (mode->opened) {
        mode->opened(c);
    } else {
        c->phase = PHASE_READY;
        ready_count++;
    }
}

static void secure(struct conn *c) {
    if (tls_handshake(c)) {
        now_ns = progress_ns = clock_ns();
        open_protocol(c);
        net_flush(c);
    }
}

static void connected(struct conn *c) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) fail("connection %d: connect: %s", c->index, strerror(error));
    set_wants_write(c, false);
    if (options.trusted) {
        c->phase = PHASE_SECURING;
        tls_begin(c);
        secure(c);
        return;
    }
    open_protocol(c);
    net_flush(c);
}

static void keep_rest(struct conn *c, const char *data, size_t length) {
    if (length > c->rest_capacity) {
        c->rest_capacity = length < 512 ? 512 : 2 * length;
        c->rest = realloc(c->rest, c->rest_capacity);
        if (!c->rest) fail("no memory for %zu bytes", length);
    }
    memmove(c->rest, data, length);
    c->rest_bytes = length;
}

static void readable(struct conn *c) {
    char *data = shared;
    size_t kept = c->rest_bytes;
    if (kept > sizeof shared / 2) fail("connection %d: a message of over %zu bytes", c->index, sizeof shared / 2);
    if (kept) memcpy(shared, c->rest, kept);
    ssize_t received = c->tls ? tls_receive(c, shared + kept, sizeof shared - kept)
                              : recv(c->fd, shared + kept, sizeof shared - kept, 0);
    if (received < 0 && errno == EAGAIN) return;
    if (received < 0) fail("connection %d: recv: %s", c->index, strerror(errno));
    if (received == 0) fail("connection %d: the server closed it", c->index);
    now_ns = progress_ns = clock_ns();
    c->rest_bytes = 0;
    size_t length = kept + (size_t)received;
    enum phase before = c->phase;
    size_t used = mode->bytes ? mode->bytes(c, data, length) : websocket_receive(c, data, length);
    if (used < length) keep_rest(c, data + used, length - used);
    if (before != PHASE_READY && c->phase == PHASE_READY && mode->ready) mode->ready(c);
    if (c->queue_bytes || c->owed) net_flush(c);
}

/* epoll_wait counts milliseconds: what wakes between two of them waits in ppoll. */
static int wait_for(struct epoll_event *events) {
    uint64_t wait_ns = IDLE_NS;
    if (mode->turn || options.rate > 0) {
        now_ns = clock_ns();
        wait_ns = mode->turn ? mode->turn() : pace_turn();
    }
    if (wait_ns < IDLE_NS) {
        struct pollfd any = {.fd = epoll_fd, .events = POLLIN};
        struct timespec patience = {.tv_nsec = (long)wait_ns};
        if (ppoll(&any, 1, &patience, NULL) < 0) return -1;
        wait_ns = 0;
    }
    return epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, (int)(wait_ns / 1000000));
}

void net_loop(bool (*until)(void)) {
    struct epoll_event events[EVENTS_PER_WAIT];
    while (!until()) {
        int count = wait_for(events);
        if (count < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
        now_ns = clock_ns();
        for (int i = 0; i < count; i++) {
            struct conn *c = events[i].data.ptr;
            if (c->phase == PHASE_CONNECTING) {
                connected(c);
                continue;
            }
            if (c->phase == PHASE_SECURING) {
                secure(c);
                continue;
            }
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                readable(c);
                while (c->tls && tls_has_more(c)) readable(c);
            }
            if (events[i].events & EPOLLOUT) net_flush(c);
        }
        if (ready_count < total_connections) open_more();
        if (now_ns - progress_ns > STUCK_SECONDS * 1000000000ull && ready_count < total_connections)
            fail("%d of %d connections ready, then silence", ready_count, total_connections);
        if (now_ns - progress_ns > STUCK_SECONDS * 1000000000ull && ready_count == total_connections && mode->start)
            fail("no answer for %d seconds", STUCK_SECONDS);
    }
}
