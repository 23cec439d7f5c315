/* loadtest/main.c -- kickoff-herd: options, Ctrl-C, exit status. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/option.h"
#include "base/rng.h"
#include "loadtest/rehearsal.h"

enum { EXIT_PASSED, EXIT_FAILED, EXIT_USAGE, EXIT_UNREACHABLE };

static volatile sig_atomic_t stop;

static struct {
        int64_t devices, connect_rate, signals, timeout_ms, bundle_bytes;
        const char *url, *admin, *event, *encoding, *token_file, *cohorts;
        bool no_prefetch, no_ack, json, hold;
} wanted;

static bool accepts_encoding(const char *text, const char **ret_why)
{
        *ret_why = "is none of json, msgpack, both";
        return strcmp(text, "json") == 0 || strcmp(text, "msgpack") == 0 ||
               strcmp(text, "both") == 0;
}

static bool accepts_event(const char *text, const char **ret_why)
{
        *ret_why = "is not an event id: 1 to 64 of A-Z a-z 0-9 . _ : ~ -";
        return name_is_valid(text, strlen(text), EVENT_ID_MAX);
}

static bool accepts_admin(const char *text, const char **ret_why)
{
        *ret_why = "does not begin with http://";
        return strncmp(text, "http://", 7) == 0;
}

static const struct option options[] = {
        { "devices", OPTION_NUMBER, &wanted.devices, "10000", 1, 3000000, "N",
          "Devices to simulate; every 15,000 get a process of their own.", NULL },
        { "url", OPTION_TEXT, &wanted.url, "ws://127.0.0.1:8080", 0, 0, "URL[,URL]...",
          "Where devices connect; several nodes share them evenly.", NULL },
        { "admin", OPTION_TEXT, &wanted.admin, "http://127.0.0.1:9090", 0, 0, "URL",
          "Admin API that starts the event.", accepts_admin },
        { "admin-token-file", OPTION_TEXT, &wanted.token_file, NULL, 0, 0, "FILE",
          "File with the admin API's token.", NULL },
        { "event", OPTION_TEXT, &wanted.event, NULL, 0, 0, "ID",
          "Event to start; made if it does not exist. Without this a new one is made.",
          accepts_event },
        { "encoding", OPTION_TEXT, &wanted.encoding, "both", 0, 0, "json|msgpack|both",
          "What devices speak; both: every other one.", accepts_encoding },
        { "cohorts", OPTION_TEXT, &wanted.cohorts, "0", 0, 0, "N|NAME,NAME...",
          "Spread devices over cohorts of these names, or over c0, c1, ...; 0: all in `default`.",
          NULL },
        { "connect-rate", OPTION_NUMBER, &wanted.connect_rate, "10000", 0, 10000000, "N",
          "New connections per second, of all devices; 0: all at once.", NULL },
        { "signals", OPTION_NUMBER, &wanted.signals, "0", 0, SWARM_CHANGES_MAX - 1, "K",
          "Stage signals after the start, one after the other.", NULL },
        { "bundle-bytes", OPTION_NUMBER, &wanted.bundle_bytes, "8192", 1, 1000000, "N",
          "Size of the bundle of an event that is made here.", NULL },
        { "timeout", OPTION_DURATION, &wanted.timeout_ms, "30s", 1000, 3600000, "TIME",
          "Go on without the missing devices when nothing has moved for so long.", NULL },
        { "no-prefetch", OPTION_FLAG, &wanted.no_prefetch, NULL, 0, 0, NULL,
          "Devices do not fetch the bundle.", NULL },
        { "no-ack", OPTION_FLAG, &wanted.no_ack, NULL, 0, 0, NULL,
          "Devices do not acknowledge signals.", NULL },
        { "hold", OPTION_FLAG, &wanted.hold, NULL, 0, 0, NULL,
          "Stay connected after the last signal, until Ctrl-C.", NULL },
        { "json", OPTION_FLAG, &wanted.json, NULL, 0, 0, NULL,
          "Print the result as one JSON object.", NULL },
};

static const struct option_program program = {
        .name = "kickoff-herd",
        .summary =
            "Rehearses a live event with many simulated devices: they connect, prefetch, and are told "
            "of the start; proves by number and tag that each of them got every signal in order.",
        .usage = "kickoff-herd [OPTION]...",
        .epilogue =
            "Examples:\n"
            "  kickoff-herd --devices 10000\n"
            "  kickoff-herd --devices 100000 --event cup-final --signals 5 --json\n"
            "\n"
            "Exit status: 0 every device got everything; 1 something was lost, or a device could not\n"
            "connect; 2 wrong usage; 3 no node or admin API there.\n",
        .options = options,
        .n = countof(options),
        .no_environment = true,
};

/* Asked again, a moment later, it ends at once. One Ctrl-C may come twice: a wrapper such as
 * timeout(1) hands it on to a group that had it already. */
static void on_signal(int number)
{
        static volatile time_t first;
        struct timespec now;

        (void)number;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (stop == 0)
                first = now.tv_sec;
        else if (now.tv_sec - first >= 2)
                _Exit(EXIT_FAILED);
        stop = 1;
}

static void watch_signals(void)
{
        struct sigaction action = { .sa_handler = on_signal };

        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
        signal(SIGPIPE, SIG_IGN);
}

static bool read_bearer(const char *path, char *out, size_t size)
{
        FILE *file = fopen(path, "re");
        size_t prefix = (size_t)snprintf(out, size, "Bearer ");

        if (file == NULL || fgets(out + prefix, (int)(size - prefix), file) == NULL) {
                fprintf(stderr, "kickoff-herd: --admin-token-file %s: %s.\n", path,
                        file == NULL ? strerror(errno) : "is empty");
                if (file != NULL)
                        fclose(file);
                return false;
        }
        fclose(file);
        out[strcspn(out, "\r\n")] = '\0';
        return true;
}

static void say_unreachable(const char *why)
{
        fprintf(
            stderr,
            "kickoff-herd: %s.\n  Start a node first (kickoffd), or say where one is with --url and "
            "--admin.\n",
            why);
}

static int tell(const struct report *report)
{
        struct buf out = BUF_INIT;

        if (wanted.json)
                report_json(report, &out);
        else
                report_text(report, &out);
        if (out.failed)
                return EXIT_FAILED;
        fwrite(out.data, 1, out.len, stdout);
        buf_fini(&out);
        return report_passed(report) ? EXIT_PASSED : EXIT_FAILED;
}

static enum swarm_encodings encodings_of(const char *text)
{
        return strcmp(text, "json") == 0      ? SWARM_JSON
               : strcmp(text, "msgpack") == 0 ? SWARM_MSGPACK
                                              : SWARM_BOTH;
}

/* EXIT_PASSED, or what is wrong has been said. */
static int read_wishes(struct rehearsal *rehearsal)
{
        static struct net_target targets[NET_TARGETS_MAX];
        static char list[COHORTS_NAMED_MAX * (COHORT_MAX + 1)], bearer[1024];
        const char *why = "";

        snprintf(list, sizeof(list), "%s", wanted.cohorts);
        if (strlen(wanted.cohorts) >= sizeof(list) ||
            !cohorts_parse(list, &rehearsal->swarm.cohorts)) {
                fprintf(
                    stderr,
                    "kickoff-herd: --cohorts %s: give a number up to %d, or up to %d names such as "
                    "default,family.\n",
                    wanted.cohorts, COHORTS_MAX, COHORTS_NAMED_MAX);
                return EXIT_USAGE;
        }
        rehearsal->swarm.targets = targets;
        switch (net_parse_targets(wanted.url, targets, &rehearsal->swarm.n_targets, &why)) {
        case OK:
                break;
        case ERR_NOT_FOUND:
                say_unreachable(why);
                return EXIT_UNREACHABLE;
        default:
                fprintf(stderr, "kickoff-herd: --url %s: %s.\n", wanted.url, why);
                return EXIT_USAGE;
        }
        if (wanted.token_file != NULL) {
                if (!read_bearer(wanted.token_file, bearer, sizeof(bearer)))
                        return EXIT_USAGE;
                rehearsal->admin.bearer = bearer;
        }
        return EXIT_PASSED;
}

static int rehearse(struct rehearsal *rehearsal)
{
        static struct report report;

        switch (rehearsal_run(rehearsal, &report)) {
        case OK:
                return tell(&report);
        case ERR_CONFLICT:
                fprintf(stderr, "kickoff-herd: %s.\n", rehearsal->admin.why);
                return EXIT_USAGE;
        case ERR_UNAVAILABLE:
                say_unreachable(rehearsal->admin.why);
                return EXIT_UNREACHABLE;
        default:
                fprintf(stderr, "kickoff-herd: %s.\n", rehearsal->admin.why);
                return EXIT_FAILED;
        }
}

int main(int argc, char **argv)
{
        char fresh[32];
        int first, wrong;

        switch (option_parse(&program, argc, argv, false, &first)) {
        case OPTION_DONE:
                return EXIT_PASSED;
        case OPTION_WRONG:
                return EXIT_USAGE;
        case OPTION_RUN:
                break;
        }
        if (first < argc) {
                fprintf(stderr,
                        "kickoff-herd: %s: there are no operands, only options; see --help.\n",
                        argv[first]);
                return EXIT_USAGE;
        }
        snprintf(fresh, sizeof(fresh), "herd-%08x", (unsigned)(rng_secure_u64() >> 32));

        struct rehearsal rehearsal = {
                .devices = (uint32_t)wanted.devices,
                .stages = (unsigned)wanted.signals,
                .patience_ms = wanted.timeout_ms,
                .hold = wanted.hold,
                .bundle_bytes = (uint32_t)wanted.bundle_bytes,
                .admin = { .url = wanted.admin },
                .swarm = { .event = wanted.event != NULL ? wanted.event : fresh,
                           .encodings = encodings_of(wanted.encoding),
                           .no_ack = wanted.no_ack,
                           .no_prefetch = wanted.no_prefetch,
                           .connects_per_s = (uint64_t)wanted.connect_rate },
                .stop = &stop,
        };

        wrong = read_wishes(&rehearsal);
        if (wrong != EXIT_PASSED)
                return wrong;
        watch_signals();
        return rehearse(&rehearsal);
}
