/* Open loop: messages fall due at a fixed rate however late the answers are, on one connection after the other.
 * It must not know what a message is: a mode takes what is due, and its latency counts from the moment that it was. */
#include "generator.h"

#include <sys/prctl.h>

static uint64_t start_ns;
static long fallen;
static double late_ns;

static uint64_t due_ns(long number) { return start_ns + (uint64_t)((double)number * 1e9 / options.rate); }

/* The kernel's timers are 50 us late by default, which would be two messages of some rates. */
void pace_start(void) {
    prctl(PR_SET_TIMERSLACK, 1);
    start_ns = clock_ns();
}

bool pace_take(struct conn *c, uint64_t *since_ns) {
    if (!c->due) return false;
    c->due--;
    *since_ns = due_ns(c->paced++ * options.connections + c->index);
    return true;
}

/* Hands out what has fallen due; for how long nothing more will. */
uint64_t pace_turn(void) {
    if (!start_ns) return IDLE_NS;
    uint64_t next_ns;
    while ((next_ns = due_ns(fallen)) <= now_ns) {
        struct conn *c = &conns[fallen++ % options.connections];
        late_ns += (double)(now_ns - next_ns);
        c->due++;
        mode->send_due(c);
        net_flush(c);
    }
    return next_ns - now_ns;
}

/* Whoever has no answer when the window ends counts with what it has waited so far. */
void pace_count_unanswered(void) {
    uint64_t since_ns;
    now_ns = clock_ns();
    for (int i = 0; i < options.connections; i++) {
        struct conn *c = &conns[i];
        for (int k = 0; k < c->flights; k++) meter_count(c->flight_sent_ns[k], 0);
        while (pace_take(c, &since_ns)) meter_count(since_ns, 0);
    }
}

/* By how much the generator itself was late, on average: a part of every latency. */
double pace_late_us(void) { return fallen ? late_ns / (double)fallen / 1e3 : 0; }
