/* The measured window: warm-up, counters, a logarithmic latency histogram, CPU seconds from /proc, one JSON object.
 * It must not know what was sent; modes report counts and send times. */
#include "generator.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SUB_BUCKETS = 32 };

static long messages, disorder, uncompressed, latencies, histogram[HISTOGRAM_BUCKETS];
static uint64_t deadline_ns, longest_ns;
static struct readings before, after;

/* 32 buckets per power of two: 3 % wide. */
static int bucket_of(uint64_t ns) {
    if (ns < SUB_BUCKETS) return (int)ns;
    int power = 63 - __builtin_clzll(ns);
    return (power - 4) * SUB_BUCKETS + (int)(ns >> (power - 5) & (SUB_BUCKETS - 1));
}

static uint64_t bucket_ns(int bucket) {
    if (bucket < SUB_BUCKETS) return (uint64_t)bucket;
    int power = bucket / SUB_BUCKETS + 4;
    return (1ull << power) + ((uint64_t)(bucket % SUB_BUCKETS) << (power - 5));
}

void meter_count(uint64_t sent_ns, long count) {
    messages += count;
    if (!sent_ns) return;
    uint64_t took_ns = now_ns - sent_ns;
    histogram[bucket_of(took_ns)]++;
    latencies++;
    if (took_ns > longest_ns) longest_ns = took_ns;
}

void meter_note_disorder(void) { disorder++; }
void meter_note_uncompressed(void) { uncompressed++; }

/* What /proc says of a process, behind its name; null when it is gone. */
static const char *process_fields(int pid) {
    static char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return NULL;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    const char *name_end = strrchr(text, ')');
    return name_end ? name_end + 1 : NULL;
}

static double process_cpu_seconds(int pid) {
    unsigned long user, system;
    const char *fields = process_fields(pid);
    if (!fields) fail("server process %d is gone", pid);
    if (sscanf(fields, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        fail("cannot read what process %d has used", pid);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static bool counted(int pid) {
    for (int i = 0; i < options.pid_count; i++)
        if (options.pids[i] == pid) return true;
    return false;
}

/* Until a look over all processes finds no child more of one that counts. */
static void add_family(void) {
    bool found = true;
    while (found) {
        found = false;
        DIR *folder = opendir("/proc");
        if (!folder) fail("cannot read /proc");
        for (struct dirent *entry; (entry = readdir(folder));) {
            int parent, pid = atoi(entry->d_name);
            const char *fields = pid && !counted(pid) ? process_fields(pid) : NULL;
            if (!fields || sscanf(fields, " %*c %d", &parent) != 1 || !counted(parent)) continue;
            if (options.pid_count == MAX_PIDS) fail("more than %d processes", MAX_PIDS);
            options.pids[options.pid_count++] = pid;
            found = true;
        }
        closedir(folder);
    }
}

void meter_read(struct readings *r) {
    struct timespec t;
    unsigned long user, nice, system, idle, iowait, irq, softirq, steal;
    FILE *file = fopen("/proc/stat", "r");
    if (!file || fscanf(file, "cpu %lu %lu %lu %lu %lu %lu %lu %lu", &user, &nice, &system, &idle, &iowait, &irq, &softirq,
                        &steal) != 8)
        fail("cannot read /proc/stat");
    fclose(file);
    r->busy_cpu = (double)(user + nice + system + irq + softirq) / (double)sysconf(_SC_CLK_TCK);
    r->steal_cpu = (double)steal / (double)sysconf(_SC_CLK_TCK);
    r->server_cpu = 0;
    for (int i = 0; i < options.pid_count; i++) r->server_cpu += process_cpu_seconds(options.pids[i]);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    r->generator_cpu = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
    r->at_ns = clock_ns();
}

static bool all_ready(void) { return ready_count == total_connections; }
static bool deadline_passed(void) { return clock_ns() >= deadline_ns; }

void meter_run(void) {
    net_open_all();
    net_loop(all_ready);
    mode->start();
    if (options.rate > 0) pace_start();
    deadline_ns = clock_ns() + (uint64_t)(options.warmup_seconds * 1e9);
    net_loop(deadline_passed);
    if (options.family) add_family();
    meter_read(&before);
    messages = disorder = uncompressed = latencies = 0;
    longest_ns = 0;
    memset(histogram, 0, sizeof histogram);
    deadline_ns = before.at_ns + (uint64_t)(options.seconds * 1e9);
    net_loop(deadline_passed);
    if (options.rate > 0) pace_count_unanswered();
    meter_read(&after);
    net_close_all();
    if (!messages || !latencies) fail("not one answer in the measured window, or no broadcast that all have");
}

static double percentile_us(double share) {
    long wanted = (long)(share * (double)latencies), seen = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        if ((seen += histogram[i]) > wanted) return (double)bucket_ns(i) / 1e3;
    return (double)longest_ns / 1e3;
}

/* What only some runs have. */
static const char *further(void) {
    static char text[320];
    int length = 0;
    if (options.deflate)
        length = snprintf(text, sizeof text, "\"deflate\": \"%s\", \"uncompressed\": %ld, ", deflate_words(), uncompressed);
    if (options.family)
        length += snprintf(text + length, sizeof text - (size_t)length, "\"processes\": %d, ", options.pid_count);
    if (options.rate > 0)
        snprintf(text + length, sizeof text - (size_t)length, "\"rate\": %.1f, \"late_us\": %.1f, ", options.rate, pace_late_us());
    return text;
}

void meter_print(const char *unit) {
    double seconds = (double)(after.at_ns - before.at_ns) / 1e9;
    double generator_cpu = after.generator_cpu - before.generator_cpu, server_cpu = after.server_cpu - before.server_cpu;
    printf("{\"mode\": \"%s\", \"unit\": \"%s\", \"connections\": %d, \"in_flight\": %d, \"payload_bytes\": %zu, "
           "\"messages\": %ld, \"seconds\": %.4f, \"per_second\": %.1f, \"server_cpu_seconds\": %.3f, "
           "\"per_server_cpu_second\": %.1f, \"generator_cpu_seconds\": %.3f, \"generator_load\": %.3f, "
           "\"idle\": %d, \"rooms\": %d, \"tls\": \"%s\", %s\"other_cpu_seconds\": %.3f, \"steal_seconds\": %.3f, \"out_of_order\": %ld, "
           "\"latency_us\": {\"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}}\n",
           mode->name, unit, options.connections, options.in_flight, options.payload_bytes, messages, seconds,
           (double)messages / seconds, server_cpu, server_cpu > 0 ? (double)messages / server_cpu : 0.0, generator_cpu,
           generator_cpu / seconds, options.idle, options.rooms, tls_words(), further(), after.busy_cpu - before.busy_cpu - server_cpu - generator_cpu,
           after.steal_cpu - before.steal_cpu, disorder, percentile_us(.5), percentile_us(.9), percentile_us(.99),
           percentile_us(.999), (double)longest_ns / 1e3);
}
