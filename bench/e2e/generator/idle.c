/* Idle mode: open N connections as fast as the server lets them in, say so, hold them until standard input ends.
 * It must not send anything on its own; only pings are answered. */
#include "generator.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

static bool all_ready(void) { return ready_count == options.connections; }

static bool released(void) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char byte;
    return poll(&input, 1, 0) > 0 && read(STDIN_FILENO, &byte, 1) <= 0;
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
    net_loop(released);
    net_close_all();
}

static void nothing(void) {}

const struct mode mode_ws_idle = {.name = "ws-idle", .protocol = PROTOCOL_WEBSOCKET, .prepare = nothing};
const struct mode mode_sio_idle = {.name = "sio-idle", .protocol = PROTOCOL_SOCKETIO, .prepare = nothing};
