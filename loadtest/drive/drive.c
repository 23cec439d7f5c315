/* loadtest/drive/drive.c -- the herd as a tool: it does as told on stdin, one command a line, and
 * answers each with one line of JSON on stdout. Who starts nodes, asks producers' questions, kills
 * and judges is the program at the other end (loadtest/million); what is here only plays devices
 * and tells what became of them, so that the same devices can be set against a node and against the
 * floor.
 *
 *   connect MS            all begin to connect; until all have been in, or MS are over
 *   asked                 notes the moment: the next change of the event is about to be asked for
 *   head EPOCH SEQ        where every device should be from now on
 *   await head|acked|left MS
 *                         until all are there; have acknowledged it too; those let go are gone
 *   await back N MS       until all are at the head, connected, and so many have come back in all
 *   keep N                devices numbered N and above say goodbye
 *   lose N                N devices drop out that should not: a test's
 *   counts                how it stands
 *   finish                the end: the same with all timings and `seen`, every token that a device
 * saw
 *
 * An await ends early when nothing has moved for --timeout; "done" in the answer says how it ended.
 * The end of stdin ends everything at once. */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/option.h"
#include "base/rng.h"
#include "loadtest/fleet.h"
#include "loadtest/progress.h"
#include "loadtest/report.h"

#define POLL_MS         20
#define REPORT_EVERY_MS 500 /* each report walks over all devices */
#define SAMPLE_KEY                                                                    \
        "dGhlIHNhbXBsZSBub25jZQ==" /* RFC 6455 1.3: the floor's answer is made for it \
                                    */

static struct {
        int64_t devices, connect_rate, window, back_window, in_turn, version, timeout_ms;
        const char *url, *event;
        bool no_ack, quiet;
} wanted;

static const struct option options[] = {
        { "devices", OPTION_NUMBER, &wanted.devices, "1000", 1, 3000000, "N", "Devices.", NULL },
        { "url", OPTION_TEXT, &wanted.url, "ws://127.0.0.1:8080", 0, 0, "URL[,URL]...",
          "Where they connect, evenly.", NULL },
        { "event", OPTION_TEXT, &wanted.event, "million", 0, 0, "ID",
          "The event whose changes are timed.", NULL },
        { "event-version", OPTION_NUMBER, &wanted.version, "1", 0, INT64_MAX, "N",
          "Its version before the first change.", NULL },
        { "connect-rate", OPTION_NUMBER, &wanted.connect_rate, "10000000", 1, 10000000, "N",
          "New connections per second, as long as --window allows it.", NULL },
        { "window", OPTION_NUMBER, &wanted.window, "1024", 1, 1000000, "N",
          "Handshakes on their way at a time, until all have been in.", NULL },
        { "back-window", OPTION_NUMBER, &wanted.back_window, "0", 0, 1000000, "N",
          "The same for devices that come back; 0: any number.", NULL },
        { "in-turn", OPTION_NUMBER, &wanted.in_turn, "0", 0, 1000, "N",
          "Devices arrive in order, those of N processes at a time, at one node after the other; "
          "0: all at once.",
          NULL },
        { "timeout", OPTION_DURATION, &wanted.timeout_ms, "60s", 1000, 3600000, "TIME",
          "Give up waiting when nothing has moved for so long.", NULL },
        { "no-ack", OPTION_FLAG, &wanted.no_ack, NULL, 0, 0, NULL,
          "Devices do not acknowledge signals.", NULL },
        { "quiet", OPTION_FLAG, &wanted.quiet, NULL, 0, 0, NULL, "No progress on stderr.", NULL },
};

static const struct option_program program = {
        .name = "kickoff-herd-drive",
        .summary = "Plays devices as told on stdin; a part of loadtest/million.",
        .usage = "kickoff-herd-drive [OPTION]...",
        .options = options,
        .n = countof(options),
        .no_environment = true,
};

static struct net_target targets[NET_TARGETS_MAX];
static unsigned n_targets, changes;
static struct fleet *fleet;
static struct swarm_board *board;
static struct progress progress;
static struct report report;
static uint64_t origin_us, head_seq;
static struct {
        char bytes[4096];
        size_t len;
} input;

static double seconds(void)
{
        return (double)(clock_mono_us() - origin_us) / 1e6;
}

/* "done" is what it waited for, or true. */
static void answer(json_t *root, bool is_done)
{
        char *text;

        json_object_set_new(root, "done", json_boolean(is_done));
        json_object_set_new(root, "now_us", json_integer((json_int_t)clock_mono_us()));
        text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9));
        check(text != NULL);
        puts(text);
        fflush(stdout);
        free(text);
        json_decref(root);
}

static json_t *describe(void)
{
        const struct swarm_counts *counts = &report.result.counts;
        json_t *root = report_object(&report);
        const struct {
                const char *name;
                uint64_t value;
        } rows[] = {
                { "open", counts->open },
                { "at_head", counts->at_head },
                { "owing", counts->owing },
                { "left", counts->left },
                { "behind", counts->behind },
                { "gave_up", counts->gave_up },
                { "proof_failed", counts->proof_failed },
                { "origin_us", origin_us },
                { "last_welcome_us", atomic_load(&board->last_welcome_us) },
                { "last_back_us", atomic_load(&board->last_back_us) },
        };

        for (size_t i = 0; i < countof(rows); i++)
                json_object_set_new(root, rows[i].name, json_integer((json_int_t)rows[i].value));
        return root;
}

static void answer_counts(bool is_done)
{
        report.result.counts = fleet_counts(fleet);
        answer(describe(), is_done);
}

/* Must go on all the time: a process whose pipe is full stands still. what: what is waited for;
 * NULL: the next command. */
static void take_turn(const char *what)
{
        struct swarm_counts counts;

        if (!fleet_poll(fleet, POLL_MS)) {
                fputs("kickoff-herd-drive: a process of the herd ended early.\n", stderr);
                exit(1);
        }
        counts = fleet_counts(fleet);
        if (what != NULL)
                progress_show(&progress, what, seconds(), &counts, fleet_series(fleet));
}

/* --- waiting -------------------------------------------------------------------------------- */

enum goal { GOAL_CONNECTED, GOAL_HEAD, GOAL_ACKED, GOAL_LEFT, GOAL_BACK };
static const char *const goal_name[] = { "connect", "head", "acked", "left", "back" };

static bool is_reached(enum goal goal, const struct swarm_counts *counts, uint64_t n)
{
        uint64_t keep = atomic_load(&board->keep), all = counts->devices;
        uint64_t leaving = keep != 0 && keep < all ? all - keep : 0;
        /* A count made before the head moved says nothing about the new one. */
        bool at_head = counts->judged_seq == head_seq * fleet_processes(fleet) &&
                       counts->at_head + leaving >= all;

        switch (goal) {
        case GOAL_CONNECTED:
                return counts->connected_once + counts->gave_up >= all;
        case GOAL_HEAD:
                return at_head;
        case GOAL_ACKED:
                return at_head && counts->owing == 0;
        case GOAL_LEFT:
                return counts->left >= leaving;
        case GOAL_BACK:
                return at_head && counts->open + leaving >= all && counts->reconnects >= n;
        }
        return false;
}

static uint64_t motion(const struct swarm_counts *counts)
{
        return counts->connected_once + counts->tally.delivered + counts->acks +
               counts->reconnects + counts->left;
}

static bool await(enum goal goal, uint64_t n, uint64_t ms)
{
        uint64_t until_ms = clock_mono_ms() + ms, moved_ms = clock_mono_ms(), best = 0;

        for (;;) {
                struct swarm_counts counts;
                uint64_t now_ms = clock_mono_ms();

                take_turn(goal_name[goal]);
                counts = fleet_counts(fleet);
                if (counts.devices == report.devices && is_reached(goal, &counts, n))
                        return true;
                if (motion(&counts) > best) {
                        best = motion(&counts);
                        moved_ms = now_ms;
                }
                if (now_ms >= until_ms || now_ms - moved_ms > (uint64_t)wanted.timeout_ms)
                        return false;
        }
}

/* --- commands ------------------------------------------------------------------------------- */

static void connect_all(uint64_t ms)
{
        const struct swarm_options herd = {
                .run = (uint32_t)rng_secure_u64(),
                .targets = targets,
                .n_targets = n_targets,
                .event = wanted.event,
                .encodings = SWARM_JSON,
                .no_ack = wanted.no_ack,
                .no_prefetch = true,
                .connects_per_s = (uint64_t)wanted.connect_rate,
                .window = (uint32_t)wanted.window,
                .back_window = (uint32_t)wanted.back_window,
                .in_turn = (unsigned)wanted.in_turn,
                .key = SAMPLE_KEY,
                .report_every_ms = REPORT_EVERY_MS,
        };
        uint64_t welcomed_us;
        bool is_done;

        if (fleet_start(&herd, report.devices, net_raise_descriptors(), &fleet) != OK) {
                fputs("kickoff-herd-drive: its processes could not be started.\n", stderr);
                exit(1);
        }
        board = fleet_board(fleet);
        origin_us = atomic_load(&board->origin_us);
        atomic_store(&board->base_version, (uint64_t)wanted.version);
        report.processes = fleet_processes(fleet);
        is_done = await(GOAL_CONNECTED, 0, ms);
        welcomed_us = atomic_load(&board->last_welcome_us);
        report.connect_us = welcomed_us > origin_us ? welcomed_us - origin_us : 0;
        answer_counts(is_done);
}

static void note_asked(void)
{
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        if (changes < SWARM_CHANGES_MAX)
                atomic_store(&board->asked_us[changes],
                             (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
        changes++;
        answer(json_object(), true);
}

static void set_head(uint64_t epoch, uint64_t seq)
{
        head_seq = seq;
        atomic_store(&board->head_seq, UINT64_MAX); /* nobody is there while the two are changing */
        atomic_store(&board->head_epoch, epoch);
        atomic_store(&board->head_seq, seq);
        answer(json_object(), true);
}

static _Noreturn void finish(void)
{
        json_t *root, *tokens = json_array();
        char text[TOKEN_TEXT_MAX + 1];
        struct witness seen;

        witness_init(&seen);
        report.is_started = true;
        report.is_complete = fleet_finish(fleet, &report.result, &seen);
        progress_end(&progress);
        root = describe();
        for (size_t i = 0; i < seen.n; i++) {
                token_format(&seen.tokens[i], text);
                json_array_append_new(tokens, json_string(text));
        }
        json_object_set_new(root, "seen", tokens);
        answer(root, report.is_complete && !seen.failed);
        _exit(0); /* a million goodbyes are not worth waiting for */
}

static bool obey(const char *line)
{
        uint64_t a, b;
        char goal[16];

        if (fleet == NULL) {
                if (sscanf(line, "connect %" SCNu64, &a) != 1)
                        return false;
                connect_all(a);
                return true;
        }
        if (strcmp(line, "asked") == 0)
                note_asked();
        else if (sscanf(line, "head %" SCNx64 " %" SCNu64, &a, &b) == 2)
                set_head(a, b);
        else if (sscanf(line, "await back %" SCNu64 " %" SCNu64, &a, &b) == 2)
                answer_counts(await(GOAL_BACK, a, b));
        else if (sscanf(line, "await %15s %" SCNu64, goal, &a) == 2 && strcmp(goal, "head") == 0)
                answer_counts(await(GOAL_HEAD, 0, a));
        else if (sscanf(line, "await %15s %" SCNu64, goal, &a) == 2 && strcmp(goal, "acked") == 0)
                answer_counts(await(GOAL_ACKED, 0, a));
        else if (sscanf(line, "await %15s %" SCNu64, goal, &a) == 2 && strcmp(goal, "left") == 0)
                answer_counts(await(GOAL_LEFT, 0, a));
        else if (sscanf(line, "keep %" SCNu64, &a) == 1)
                atomic_store(&board->keep, (uint32_t)a), answer(json_object(), true);
        else if (sscanf(line, "lose %" SCNu64, &a) == 1)
                atomic_store(&board->lose, (uint32_t)a), answer(json_object(), true);
        else if (strcmp(line, "counts") == 0)
                answer_counts(true);
        else if (strcmp(line, "finish") == 0)
                finish();
        else
                return false;
        return true;
}

/* False at the end of stdin. Waits only while there is no herd to look after. */
static bool read_input(void)
{
        struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
        ssize_t n;
        char *end;

        if (poll(&in, 1, fleet == NULL ? -1 : 0) <= 0)
                return true;
        n = read(STDIN_FILENO, input.bytes + input.len, sizeof(input.bytes) - input.len);
        if (n <= 0)
                return false;
        input.len += (size_t)n;
        while ((end = memchr(input.bytes, '\n', input.len)) != NULL) {
                size_t used = (size_t)(end - input.bytes) + 1;

                *end = '\0';
                if (!obey(input.bytes)) {
                        fprintf(stderr, "kickoff-herd-drive: not now, or unknown: %s\n",
                                input.bytes);
                        exit(2);
                }
                input.len -= used;
                memmove(input.bytes, input.bytes + used, input.len);
        }
        return true;
}

int main(int argc, char **argv)
{
        const char *why = "";
        int first;

        switch (option_parse(&program, argc, argv, false, &first)) {
        case OPTION_DONE:
                return 0;
        case OPTION_WRONG:
                return 2;
        case OPTION_RUN:
                break;
        }
        if (net_parse_targets(wanted.url, targets, &n_targets, &why) != OK) {
                fprintf(stderr, "kickoff-herd-drive: --url %s: %s.\n", wanted.url, why);
                return 2;
        }
        signal(SIGPIPE, SIG_IGN);
        signal(SIGINT, SIG_IGN); /* the terminal tells all of us; who drives decides */
        progress_init(&progress, wanted.quiet);
        report.event = wanted.event;
        report.encodings = "json";
        report.no_prefetch = true;
        report.devices = (uint32_t)wanted.devices;
        while (read_input())
                if (fleet != NULL)
                        take_turn(NULL);
        return 0;
}
