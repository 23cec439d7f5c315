/* gateway/gateway_metrics.c -- the rows, and the families that have one row per status or reason.
 */
#include "gateway/gateway_metrics.h"

#include <stdio.h>

#include "base/check.h"

#define GAUGE_HELP                                                                             \
        "What moves the step: ms that a worker has been behind for a second; per mille of the " \
        "memory and of the descriptors that there are. Of the worker that has most."

/* A gauge is the sum of the workers' shares. */
struct metric m_devices = METRIC_GAUGE("kickoff_devices", "Sessions held.");
struct metric m_sessions[2] = {
        METRIC_GAUGE("kickoff_sessions{transport=\"websocket\"}", "Sessions held, by transport."),
        METRIC_GAUGE("kickoff_sessions{transport=\"sse\"}", "Sessions held, by transport."),
};
struct metric m_begun[2] = {
        METRIC_COUNTER("kickoff_sessions_begun_total{transport=\"websocket\"}",
                       "Sessions begun, by transport."),
        METRIC_COUNTER("kickoff_sessions_begun_total{transport=\"sse\"}",
                       "Sessions begun, by transport."),
};
struct metric m_guests =
    METRIC_GAUGE("kickoff_guests", "Sockets that are not sessions: requests and handshakes.");
struct metric m_blocked =
    METRIC_GAUGE("kickoff_blocked", "Sockets that take no more bytes for now.");
struct metric m_uring =
    METRIC_GAUGE("kickoff_uring_workers", "Workers whose broadcasts are sent by io_uring.");
struct metric m_broadcast_us =
    METRIC_COUNTER("kickoff_broadcast_us_total",
                   "Microseconds from a signal's arrival at a worker to its last device, summed.");
struct metric m_connects_recovered =
    METRIC_COUNTER("kickoff_connects_total{result=\"recovered\"}", "Devices let in, by result.");
struct metric m_connects_reset =
    METRIC_COUNTER("kickoff_connects_total{result=\"reset\"}", "Devices let in, by result.");
struct metric m_connects_waiting = METRIC_COUNTER(
    "kickoff_connects_ahead_total", "Devices that knew a later signal than this node at first.");
struct metric m_signals =
    METRIC_COUNTER("kickoff_signals_written_total", "Signals written to devices.");
struct metric m_skips = METRIC_COUNTER(
    "kickoff_skips_total", "Places given to devices past signals that were for others.");
struct metric m_bytes =
    METRIC_COUNTER("kickoff_bytes_sent_total", "Bytes written to device sockets.");
struct metric m_acks =
    METRIC_COUNTER("kickoff_acks_total", "Acknowledgements by devices that told something new.");
struct metric m_frames_in =
    METRIC_COUNTER("kickoff_messages_received_total", "Messages and control frames of devices.");
struct metric m_broadcasts =
    METRIC_COUNTER("kickoff_broadcasts_total", "Walks over all sessions of a worker.");
struct metric m_accepted = METRIC_COUNTER("kickoff_accepted_total", "Sockets accepted.");
struct metric m_accept_paused = METRIC_COUNTER(
    "kickoff_accept_paused_total", "Times accepting was paused for want of descriptors or memory.");
struct metric m_head_timeouts = METRIC_COUNTER(
    "kickoff_handshakes_expired_total", "Sockets closed because no whole request came in time.");
struct metric m_no_memory =
    METRIC_COUNTER("kickoff_shed_no_memory_total", "Connections closed for want of memory.");
struct metric m_young_lost = METRIC_COUNTER(
    "kickoff_ring_young_lost_total",
    "Signals that left a worker's memory before their 24 hours were over, for want of room; devices whose "
    "place is before them get a reset.");
struct metric m_ends_held = METRIC_COUNTER(
    "kickoff_ends_held_total",
    "Times a session's end was moved behind a planned start, for it fell into the guard around it.");
struct metric m_overload_step =
    METRIC_GAUGE("kickoff_overload_step",
                 "What is shed: 0 nothing, 1 prefetch, 2 newcomers too, 3 resumes too; of the worker that sheds most.");
struct metric m_gauges[LADDER_GAUGES] = {
        [LADDER_LAG] = METRIC_GAUGE("kickoff_overload_gauge{gauge=\"lag\"}", GAUGE_HELP),
        [LADDER_MEMORY] = METRIC_GAUGE("kickoff_overload_gauge{gauge=\"memory\"}", GAUGE_HELP),
        [LADDER_DESCRIPTORS] = METRIC_GAUGE("kickoff_overload_gauge{gauge=\"descriptors\"}", GAUGE_HELP),
};
struct metric m_evicted = METRIC_COUNTER(
    "kickoff_handshakes_evicted_total",
    "Sockets closed before their deadline, because too many others waited after them.");
struct metric m_proxy_broken = METRIC_COUNTER(
    "kickoff_proxy_broken_total",
    "Sockets closed because a trusted proxy did not begin with a PROXY header.");
struct metric m_admission_rate = METRIC_GAUGE(
    "kickoff_admission_rate", "Devices per second that this node is measured to let in.");
struct metric m_shed[SHED_KINDS];
struct metric m_resets[RESET_REASONS], m_closes[CLOSE_KINDS];
static struct metric m_changes[LADDER_STEPS][LADDER_GAUGES];

static const unsigned refused_status[] = { 400, 403, 404, 405, 410, 426, 429, 431, 501, 503, 505 };
static const unsigned prefetch_status[] = { 200, 304, 404, 406, 410, 503 };
static struct metric m_refused[countof(refused_status)], m_prefetch[countof(prefetch_status)];

static struct metric *const table[] = {
        &m_devices,
        &m_sessions[0],
        &m_sessions[1],
        &m_begun[0],
        &m_begun[1],
        &m_guests,
        &m_blocked,
        &m_uring,
        &m_broadcast_us,
        &m_connects_recovered,
        &m_connects_reset,
        &m_connects_waiting,
        &m_signals,
        &m_skips,
        &m_bytes,
        &m_acks,
        &m_frames_in,
        &m_broadcasts,
        &m_accepted,
        &m_accept_paused,
        &m_head_timeouts,
        &m_evicted,
        &m_proxy_broken,
        &m_admission_rate,
        &m_no_memory,
        &m_young_lost,
        &m_overload_step,
        &m_gauges[LADDER_LAG],
        &m_gauges[LADDER_MEMORY],
        &m_gauges[LADDER_DESCRIPTORS],
        &m_ends_held,
};

#define NAME_SIZE 72

static void register_row(struct metric *row, char name[NAME_SIZE], const char *help)
{
        struct metric *const rows[] = { row };

        if (row->slot != 0)
                return;
        *row = (struct metric)METRIC_COUNTER(name, help);
        metrics_register(rows, 1);
}

void gateway_metrics_register(void)
{
        static char refused[countof(refused_status)][NAME_SIZE];
        static char prefetch[countof(prefetch_status)][NAME_SIZE];
        static char shed[SHED_KINDS][NAME_SIZE];
        static char resets[RESET_REASONS][NAME_SIZE], closes[CLOSE_KINDS][NAME_SIZE];
        static char changes[LADDER_STEPS * LADDER_GAUGES][NAME_SIZE];

        if (m_devices.slot != 0)
                return; /* names in use by other threads stay as they are */
        metrics_register(table, countof(table));
        for (unsigned i = 0; i < countof(refused_status); i++) {
                snprintf(refused[i], NAME_SIZE, "kickoff_refused_total{status=\"%u\"}",
                         refused_status[i]);
                register_row(&m_refused[i], refused[i], "Requests of devices refused, by status.");
        }
        for (unsigned i = 0; i < countof(prefetch_status); i++) {
                snprintf(prefetch[i], NAME_SIZE, "kickoff_prefetch_total{status=\"%u\"}",
                         prefetch_status[i]);
                register_row(&m_prefetch[i], prefetch[i], "Bundle requests answered, by status.");
        }
        for (unsigned i = 0; i < SHED_KINDS; i++) {
                snprintf(shed[i], NAME_SIZE, "kickoff_shed_total{why=\"%s\"}",
                         entrance_shed_word[i]);
                register_row(&m_shed[i], shed[i], "Devices turned away that did nothing wrong.");
        }
        for (unsigned i = 0; i < RESET_REASONS; i++) {
                snprintf(resets[i], NAME_SIZE, "kickoff_resets_total{reason=\"%s\"}",
                         reset_reason_name[i]);
                register_row(&m_resets[i], resets[i], "Full states sent instead of a replay.");
        }
        for (unsigned i = 0; i < CLOSE_KINDS; i++) {
                snprintf(closes[i], NAME_SIZE, "kickoff_closes_total{reason=\"%s\"}",
                         close_table[i].name);
                register_row(&m_closes[i], closes[i], "Sessions ended, by reason.");
        }
        for (unsigned i = 0; i < LADDER_STEPS * LADDER_GAUGES; i++) {
                unsigned step = i / LADDER_GAUGES, gauge = i % LADDER_GAUGES;

                snprintf(changes[i], NAME_SIZE,
                         "kickoff_overload_changes_total{step=\"%s\",gauge=\"%s\"}",
                         ladder_step_name[step], ladder_gauge_name[gauge]);
                register_row(&m_changes[step][gauge], changes[i],
                             "Times a worker came to a step of overload, by what moved it.");
        }
}

static void count(const unsigned *statuses, const struct metric *rows, size_t n, unsigned status)
{
        for (size_t i = 0; i < n; i++)
                if (statuses[i] == status)
                        metric_add(&rows[i], 1);
}

void gateway_metrics_overload(enum ladder_step step, enum ladder_gauge gauge)
{
        metric_add(&m_changes[step][gauge], 1);
}

void gateway_metrics_refused(unsigned status)
{
        count(refused_status, m_refused, countof(refused_status), status);
}

void gateway_metrics_prefetch(unsigned status)
{
        count(prefetch_status, m_prefetch, countof(prefetch_status), status);
}
