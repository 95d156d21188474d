/* Idle mode: open N connections as fast as the server lets them in, say so, hold them until standard input ends.
 * It must not send anything on its own; only pings are answered. */
#include "generator.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

static uint64_t window_end_ns;

static bool all_ready(void) { return ready_count == total_connections; }
static bool window_over(void) { return clock_ns() >= window_end_ns; }

static bool released(void) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char byte;
    return poll(&input, 1, 0) > 0 && read(STDIN_FILENO, &byte, 1) <= 0;
}

static void wait_until(uint64_t when_ns) {
    window_end_ns = when_ns;
    net_loop(window_over);
}

/* What the heartbeats cost: one window, a whole number of the server's ping intervals, after a second's rest. */
static void measure_window(void) {
    struct readings before, after;
    wait_until(clock_ns() + 1000000000ull);
    long pings_before = pings_answered;
    meter_read(&before);
    wait_until(before.at_ns + (uint64_t)(options.window_seconds * 1e9));
    meter_read(&after);
    double seconds = (double)(after.at_ns - before.at_ns) / 1e9;
    double generator_cpu = after.generator_cpu - before.generator_cpu;
    double server_cpu = after.server_cpu - before.server_cpu;
    printf("{\"window_seconds\": %.3f, \"pings_answered\": %ld, \"window_server_cpu_seconds\": %.3f, "
           "\"window_server_share\": %.5f, \"window_other_cpu_seconds\": %.3f}\n",
           seconds, pings_answered - pings_before, server_cpu, server_cpu / seconds,
           after.busy_cpu - before.busy_cpu - server_cpu - generator_cpu);
    fflush(stdout);
}

void idle_run(void) {
    struct readings before, after;
    meter_read(&before);
    net_open_all();
    net_loop(all_ready);
    meter_read(&after);
    double seconds = (double)(after.at_ns - before.at_ns) / 1e9;
    double generator_cpu = after.generator_cpu - before.generator_cpu;
    printf("{\"mode\": \"%s\", \"connections\": %d, \"seconds\": %.4f, \"per_second\": %.1f, "
           "\"server_cpu_seconds\": %.3f, \"generator_load\": %.3f, \"other_cpu_seconds\": %.3f}\n",
           mode->name, options.connections, seconds, options.connections / seconds,
           after.server_cpu - before.server_cpu, generator_cpu / seconds,
           after.busy_cpu - before.busy_cpu - (after.server_cpu - before.server_cpu) - generator_cpu);
    fflush(stdout);
    if (options.window_seconds > 0) measure_window();
    net_loop(released);
    net_close_all();
}

static void nothing(void) {}

const struct mode mode_ws_idle = {.name = "ws-idle", .protocol = PROTOCOL_WEBSOCKET, .prepare = nothing};
const struct mode mode_sio_idle = {.name = "sio-idle", .protocol = PROTOCOL_SOCKETIO, .prepare = nothing};
