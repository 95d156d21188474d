/* The load generator's command line: one mode, one run, one JSON object on standard output.
 * It must not know any mode's inside; the table below is all. */
#include "generator.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options options = {.host = "127.0.0.1",
                          .path = "/",
                          .expect = "Hello, World!",
                          .connections = 1,
                          .in_flight = 1,
                          .handshakes = 64,
                          .payload_bytes = 32,
                          .seconds = 3,
                          .warmup_seconds = 0.5};
const struct mode *mode;

static const struct {
    const struct mode *mode;
    const char *unit;
} MODES[] = {
    {&mode_bytes_echo, "messages"}, {&mode_ws_echo, "messages"},     {&mode_sio_echo, "events"},
    {&mode_sio_ack, "events"},      {&mode_ws_broadcast, "deliveries"}, {&mode_sio_room, "deliveries"},
    {&mode_sio_visit, "visits"},    {&mode_lp_echo, "events"},       {&mode_lp_room, "deliveries"},
    {&mode_ws_idle, "handshakes"},  {&mode_sio_idle, "handshakes"},  {&mode_http, "requests"},
};

static const struct option OPTIONS[] = {
    {"mode", required_argument, 0, 'm'},       {"host", required_argument, 0, 'h'},
    {"port", required_argument, 0, 'p'},       {"path", required_argument, 0, 'u'},
    {"connections", required_argument, 0, 'n'}, {"in-flight", required_argument, 0, 'k'},
    {"payload", required_argument, 0, 'b'},    {"seconds", required_argument, 0, 's'},
    {"warmup", required_argument, 0, 'w'},     {"handshakes", required_argument, 0, 'a'},
    {"expect", required_argument, 0, 'e'},     {"pid", required_argument, 0, 'i'},
    {"idle", required_argument, 0, 'd'},       {"rooms", required_argument, 0, 'r'},
    {"tls", required_argument, 0, 'c'},        {"window", required_argument, 0, 'y'},
    {"text", no_argument, 0, 't'},             {"deflate", no_argument, 0, 'z'},
    {"rate", required_argument, 0, 'o'},       {"family", no_argument, 0, 'f'},
          {0, 0, 0, 0},
};

static void parse(int argc, char **argv) {
    int letter;
    while ((letter = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
        switch (letter) {
        case 'm': options.mode = optarg; break;
        case 'h': options.host = optarg; break;
        case 'p': options.port = atoi(optarg); break;
        case 'u': options.path = optarg; break;
        case 'n': options.connections = atoi(optarg); break;
        case 'k': options.in_flight = atoi(optarg); break;
        case 'b': options.payload_bytes = strtoul(optarg, NULL, 10); break;
        case 's': options.seconds = atof(optarg); break;
        case 'w': options.warmup_seconds = atof(optarg); break;
        case 'a': options.handshakes = atoi(optarg); break;
        case 'e': options.expect = optarg; break;
        case 'd': options.idle = atoi(optarg); break;
        case 'r': options.rooms = atoi(optarg); break;
        case 'c': options.trusted = optarg; break;
        case 'y': options.window_seconds = atof(optarg); break;
        case 't': options.text = true; break;
        case 'f': options.family = true; break;
        case 'z': options.deflate = true; break;
        case 'o': options.rate = atof(optarg); break;
        case 'i':
            if (options.pid_count == MAX_PIDS) fail("more than %d processes", MAX_PIDS);
            options.pids[options.pid_count++] = atoi(optarg);
            break;
        default: fail("an unknown option");
        }
    }
}

int main(int argc, char **argv) {
    const char *unit = NULL;
    parse(argc, argv);
    for (size_t i = 0; options.mode && i < sizeof MODES / sizeof *MODES; i++)
        if (!strcmp(MODES[i].mode->name, options.mode)) {
            mode = MODES[i].mode;
            unit = MODES[i].unit;
        }
    if (!mode) fail("--mode is missing or unknown");
    if (options.connections < 1 || options.payload_bytes < 1) fail("--connections and --payload begin at 1");
    if (options.in_flight < 1 || options.in_flight > MAX_IN_FLIGHT) fail("--in-flight is 1 to %d", MAX_IN_FLIGHT);
    if (options.idle < 0 || (mode == &mode_sio_visit && (options.idle != 1 || options.rooms < 1)))
        fail("--idle begins at 0; sio-visit needs --idle 1, the connection that fills the rooms, and --rooms");
    if (options.deflate && mode->protocol != PROTOCOL_WEBSOCKET) fail("--deflate is for WebSockets");
    if (options.rate < 0 || (options.rate > 0 && !mode->send_due)) fail("--rate begins at 0, and is for echo and http");
    if (mode == &mode_lp_room && options.in_flight > 1) fail("lp-room wakes everybody who polls: one at a time");
    total_connections = options.connections * (mode->protocol == PROTOCOL_POLLING ? 2 : 1) + options.idle;
    mode->prepare();
    if (!mode->start) {
        idle_run();
        return 0;
    }
    meter_run();
    meter_print(unit);
    return 0;
}
