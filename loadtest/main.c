/* loadtest/main.c -- kickoff-herd: options, Ctrl-C, exit status. What is played is a scenario's. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/option.h"
#include "loadtest/machine.h"
#include "loadtest/nodes.h"
#include "loadtest/page.h"
#include "loadtest/scenario.h"

enum { EXIT_PASSED, EXIT_FAILED, EXIT_USAGE, EXIT_UNREACHABLE };

#define DEFAULT_URL "ws://127.0.0.1:8080"

static volatile sig_atomic_t stop;

static struct {
        int64_t devices, connect_rate, signals, timeout_ms, bundle_bytes, nodes, workers, for_ms;
        int64_t window_ms, every_ms, late_ms, think_ms, jitter_ms, lead_ms, skew_ms;
        const char *url, *admin, *event, *encoding, *token_file, *cohorts, *kickoffd;
        const char *dead, *slow, *churn, *json, *html, *picture;
        bool no_prefetch, no_ack, hold, quiet, list;
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

static bool accepts_share(const char *text, const char **ret_why)
{
        uint32_t share;

        *ret_why = "is no share: 0.1, 10% or 1/10";
        return model_parse_share(text, &share);
}

/* Defaults are those of `start`; a scenario's own are put in their place before reading. */
static struct option options[] = {
        { "devices", OPTION_NUMBER, &wanted.devices, "10000", 1, 3000000, "N",
          "Devices to simulate; every 15,000 get a process of their own.", NULL },
        { "url", OPTION_TEXT, &wanted.url, NULL, 0, 0, "URL[,URL]...",
          "Where devices connect; several nodes share them evenly. Without this: nodes of its own where "
          "a scenario has any, else " DEFAULT_URL ".",
          NULL },
        { "admin", OPTION_TEXT, &wanted.admin, "http://127.0.0.1:9090", 0, 0, "URL",
          "Admin API that starts the event, with --url.", accepts_admin },
        { "admin-token-file", OPTION_TEXT, &wanted.token_file, NULL, 0, 0, "FILE",
          "File with the admin API's token.", NULL },
        { "nodes", OPTION_NUMBER, &wanted.nodes, "0", 0, NODES_MAX, "N",
          "Start so many nodes on free ports, and end them afterwards; not with --url.", NULL },
        { "workers", OPTION_NUMBER, &wanted.workers, "1", 1, 64, "N",
          "Threads of each of these nodes.", NULL },
        { "kickoffd", OPTION_TEXT, &wanted.kickoffd, NULL, 0, 0, "FILE",
          "Program of these nodes; default: the one beside kickoff-herd, else that in PATH.",
          NULL },
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
          "Stage signals after the start, one after the other; slow-readers: in each of its four parts.",
          NULL },
        { "bundle-bytes", OPTION_NUMBER, &wanted.bundle_bytes, "8192", 1, 1000000, "N",
          "Size of the bundle of an event that is made here.", NULL },
        { "window", OPTION_DURATION, &wanted.window_ms, "30s", 1, 86400000, "TIME",
          "spread: devices prefetch at a random moment in so long after they have connected.",
          NULL },
        { "late", OPTION_DURATION, &wanted.late_ms, "1s", 1, 3600000, "TIME",
          "A screen that switches later than this after the signal is late.", NULL },
        { "for", OPTION_DURATION, &wanted.for_ms, "1m", 1000, 30LL * 86400000, "TIME",
          "How long soak goes on, and rolling-restart of others' nodes.", NULL },
        { "every", OPTION_DURATION, &wanted.every_ms, "1s", 10, 3600000, "TIME",
          "Between signals that go out by themselves; soak: on average.", NULL },
        { "lead", OPTION_DURATION, &wanted.lead_ms, "2s", 100, 600000, "TIME",
          "together: so long before its moment the second start is announced.", NULL },
        { "skew", OPTION_DURATION, &wanted.skew_ms, "5s", 0, 86400000, "TIME",
          "together: devices' clocks are wrong by up to so much, either way.", NULL },
        { "churn", OPTION_TEXT, &wanted.churn, "0", 0, 0, "SHARE",
          "soak: share of the devices that drop out and come back, per minute.", accepts_share },
        { "think", OPTION_DURATION, &wanted.think_ms, "0ms", 0, 3600000, "TIME",
          "A device takes so long on average before it fetches: exponential, at most five times that.",
          NULL },
        { "jitter", OPTION_DURATION, &wanted.jitter_ms, "0ms", 0, 3600000, "TIME",
          "And up to so much more, at random, before it fetches or dials for the first time.",
          NULL },
        { "dead", OPTION_TEXT, &wanted.dead, "0", 0, 0, "SHARE",
          "Share of devices that fall silent after they have connected: 0.1, 10% or 1/10.",
          accepts_share },
        { "slow", OPTION_TEXT, &wanted.slow, "0", 0, 0, "SHARE",
          "Share of devices that read slowly, every other one of them nothing, until the end.",
          accepts_share },
        { "timeout", OPTION_DURATION, &wanted.timeout_ms, "30s", 1000, 3600000, "TIME",
          "Go on without the missing devices when nothing has moved for so long.", NULL },
        { "no-prefetch", OPTION_FLAG, &wanted.no_prefetch, NULL, 0, 0, NULL,
          "Devices do not fetch the bundle.", NULL },
        { "no-ack", OPTION_FLAG, &wanted.no_ack, NULL, 0, 0, NULL,
          "Devices do not acknowledge signals.", NULL },
        { "hold", OPTION_FLAG, &wanted.hold, NULL, 0, 0, NULL,
          "start: stay connected after the last signal, until Ctrl-C.", NULL },
        { "html", OPTION_TEXT, &wanted.html, NULL, 0, 0, "FILE",
          "Write a page with plots, which needs nothing else, and the JSON beside it.", NULL },
        { "json", OPTION_TEXT, &wanted.json, NULL, 0, 0, "[FILE]",
          "Write everything, each series too, as one JSON object; without FILE print it, without the "
          "series, instead of the words.",
          NULL },
        { "picture", OPTION_TEXT, &wanted.picture, NULL, 0, 0, "FILE",
          "Write the first plot of that page as an SVG file.", NULL },
        { "quiet", OPTION_FLAG, &wanted.quiet, NULL, 0, 0, NULL, "No progress on stderr.", NULL },
        { "list", OPTION_FLAG, &wanted.list, NULL, 0, 0, NULL, "List the scenarios, and end.",
          NULL },
};

static const struct option_program program = {
        .name = "kickoff-herd",
        .summary =
            "Rehearses a live event with many simulated devices: they connect, prefetch, and are told "
            "of the start; proves by number and tag that each of them got every signal in order. A "
            "SCENARIO (see --list) makes it harder; without one it is `start`.",
        .usage = "kickoff-herd [SCENARIO] [OPTION]...",
        .epilogue =
            "Examples:\n"
            "  kickoff-herd --devices 10000\n"
            "  kickoff-herd --devices 100000 --event cup-final --signals 5 --json\n"
            "  kickoff-herd compare --html compare.html\n"
            "  kickoff-herd together --lead 2s --skew 5s --picture together.svg\n"
            "  kickoff-herd reconnect-storm --nodes 4 --devices 20000\n"
            "\n"
            "Exit status: 0 every device got everything; 1 something was lost, a device could not\n"
            "connect, or what the scenario promises did not hold; 2 wrong usage; 3 no node or admin\n"
            "API there.\n",
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
            "--admin,\n  or let the herd start its own with --nodes 1.\n",
            why);
}

static enum swarm_encodings encodings_of(const char *text)
{
        return strcmp(text, "json") == 0      ? SWARM_JSON
               : strcmp(text, "msgpack") == 0 ? SWARM_MSGPACK
                                              : SWARM_BOTH;
}

/* EXIT_PASSED, or what is wrong has been said. */
static int read_targets(struct wishes *wishes)
{
        static struct net_target targets[NET_TARGETS_MAX];
        const char *url = wanted.url != NULL ? wanted.url : DEFAULT_URL, *why = "";

        wishes->targets = targets;
        wishes->nodes = wanted.url != NULL ? 0 : (unsigned)wanted.nodes;
        if (wishes->nodes > 0)
                return EXIT_PASSED;
        switch (net_parse_targets(url, targets, &wishes->n_targets, &why)) {
        case OK:
                return EXIT_PASSED;
        case ERR_NOT_FOUND:
                say_unreachable(why);
                return EXIT_UNREACHABLE;
        default:
                fprintf(stderr, "kickoff-herd: --url %s: %s.\n", url, why);
                return EXIT_USAGE;
        }
}

static int read_wishes(struct wishes *wishes)
{
        static char list[COHORTS_NAMED_MAX * (COHORT_MAX + 1)], bearer[1024];

        *wishes = (struct wishes){
                .devices = (uint32_t)wanted.devices,
                .workers = (unsigned)wanted.workers,
                .kickoffd = wanted.kickoffd,
                .admin_url = wanted.admin,
                .event = wanted.event,
                .encodings = encodings_of(wanted.encoding),
                .model = { .think_ms = (uint32_t)wanted.think_ms,
                           .jitter_ms = (uint32_t)wanted.jitter_ms },
                .connects_per_s = (uint64_t)wanted.connect_rate,
                .stages = (unsigned)wanted.signals,
                .bundle_bytes = (uint32_t)wanted.bundle_bytes,
                .patience_ms = wanted.timeout_ms,
                .for_ms = wanted.for_ms,
                .window_ms = wanted.window_ms,
                .every_ms = wanted.every_ms,
                .late_ms = wanted.late_ms,
                .lead_ms = wanted.lead_ms,
                .skew_ms = wanted.skew_ms,
                .no_prefetch = wanted.no_prefetch,
                .no_ack = wanted.no_ack,
                .hold = wanted.hold,
                .is_quiet = wanted.quiet,
                .stop = &stop,
        };
        check(model_parse_share(wanted.dead, &wishes->model.dead) &&
              model_parse_share(wanted.slow, &wishes->model.slow) &&
              model_parse_share(wanted.churn, &wishes->churn));
        if (wishes->model.dead + wishes->model.slow > MODEL_SHARE_WHOLE) {
                fprintf(stderr, "kickoff-herd: --dead and --slow together are more than all.\n");
                return EXIT_USAGE;
        }
        snprintf(list, sizeof(list), "%s", wanted.cohorts);
        if (strlen(wanted.cohorts) >= sizeof(list) || !cohorts_parse(list, &wishes->cohorts)) {
                fprintf(
                    stderr,
                    "kickoff-herd: --cohorts %s: give a number up to %d, or up to %d names such as "
                    "default,family.\n",
                    wanted.cohorts, COHORTS_MAX, COHORTS_NAMED_MAX);
                return EXIT_USAGE;
        }
        if (wanted.token_file != NULL) {
                if (!read_bearer(wanted.token_file, bearer, sizeof(bearer)))
                        return EXIT_USAGE;
                wishes->bearer = bearer;
        }
        return read_targets(wishes);
}

static bool write_file(const char *path, struct buf *content)
{
        FILE *file = content->failed ? NULL : fopen(path, "we");
        bool is_good = file != NULL && fwrite(content->data, 1, content->len, file) == content->len;

        if (file != NULL)
                is_good = fclose(file) == 0 && is_good;
        if (!is_good)
                fprintf(stderr, "kickoff-herd: %s could not be written: %s.\n", path,
                        content->failed ? "no memory" : strerror(errno));
        buf_fini(content);
        return is_good;
}

/* x.html -> x.json */
static void beside(const char *html, char *out, size_t size)
{
        size_t len = strlen(html);

        if (len > 5 && strcmp(html + len - 5, ".html") == 0)
                len -= 5;
        snprintf(out, size, "%.*s.json", (int)len, html);
}

static bool write_files(const struct page *page)
{
        struct buf out = BUF_INIT;
        bool is_good = true, to_stdout = wanted.json != NULL && strcmp(wanted.json, "-") == 0;
        char path[1024];

        if (wanted.html != NULL) {
                page_html(page, &out);
                is_good = write_file(wanted.html, &out);
        }
        if (wanted.picture != NULL) {
                page_picture(page, &out);
                is_good = write_file(wanted.picture, &out) && is_good;
        }
        if (wanted.json != NULL && !to_stdout)
                snprintf(path, sizeof(path), "%s", wanted.json);
        else if (wanted.html != NULL)
                beside(wanted.html, path, sizeof(path));
        else
                return is_good;
        page_json(page, true, &out);
        return write_file(path, &out) && is_good;
}

static bool are_judgements_kept(const struct account *account)
{
        bool kept = true;

        for (unsigned i = 0; i < account->n_judgements; i++)
                kept = kept && account->judgements[i].kept;
        return kept;
}

static void print(const struct page *page)
{
        struct buf out = BUF_INIT;

        if (wanted.json != NULL && strcmp(wanted.json, "-") == 0)
                page_json(page, false, &out);
        else if (page->scenario == &scenario_start && are_judgements_kept(&page->accounts[0]))
                report_text(&page->accounts[0].report, &out); /* has all there is to tell */
        else
                for (unsigned i = 0; i < page->n; i++)
                        account_text(&page->accounts[i], &out);
        if (!out.failed)
                fwrite(out.data, 1, out.len, stdout);
        buf_fini(&out);
}

static int tell(const struct scenario *scenario, struct account *accounts, unsigned n,
                const char *command)
{
        struct machine machine;
        struct page page = { .scenario = scenario,
                             .accounts = accounts,
                             .n = n,
                             .machine = &machine,
                             .command = command };
        bool is_good, is_whole = true;

        for (unsigned i = 0; i < n; i++) {
                accounts[i].scenario = scenario->name;
                accounts[i].sentence = scenario->sentence;
                accounts[i].promise = scenario->promise;
                is_whole = is_whole && !accounts[i].report.interrupted &&
                           accounts[i].report.trouble == NULL;
        }
        if (is_whole)
                scenario->judge(accounts, n);
        machine_describe(&machine);
        print(&page);
        is_good = write_files(&page);
        for (unsigned i = 0; i < n; i++)
                is_good = is_good && account_passed(&accounts[i]);
        return is_good ? EXIT_PASSED : EXIT_FAILED;
}

static int play(const struct scenario *scenario, const struct wishes *wishes, const char *command)
{
        static struct account accounts[SCENARIO_RUNS_MAX];
        unsigned n = 0;
        enum err err;
        int status;

        for (unsigned i = 0; i < SCENARIO_RUNS_MAX; i++)
                account_init(&accounts[i]);
        err = scenario->run(wishes, accounts, &n);
        if (err == OK) {
                status = tell(scenario, accounts, n, command);
        } else if (err == ERR_UNAVAILABLE && wishes->nodes == 0) {
                say_unreachable(accounts[0].why);
                status = EXIT_UNREACHABLE;
        } else {
                fprintf(stderr, "kickoff-herd: %s.\n", accounts[0].why);
                status = err == ERR_CONFLICT || err == ERR_INVALID ? EXIT_USAGE
                         : err == ERR_UNAVAILABLE                  ? EXIT_UNREACHABLE
                                                                   : EXIT_FAILED;
        }
        for (unsigned i = 0; i < SCENARIO_RUNS_MAX; i++)
                account_fini(&accounts[i]);
        return status;
}

static int list_scenarios(void)
{
        struct buf out = BUF_INIT;

        scenario_print_list(&out);
        if (!out.failed)
                fwrite(out.data, 1, out.len, stdout);
        buf_fini(&out);
        return EXIT_PASSED;
}

/* As it was typed, for the page: what it was measured with. */
static void write_command(int argc, char **argv, char *out, size_t size)
{
        size_t n = (size_t)snprintf(out, size, "kickoff-herd");

        for (int i = 1; i < argc && n < size; i++)
                n += (size_t)snprintf(out + n, size - n, " %s", argv[i]);
}

static int refuse_operand(const char *odd)
{
        fprintf(
            stderr,
            scenario_find(odd) != NULL
                ? "kickoff-herd: %s: name the scenario first: kickoff-herd SCENARIO [OPTION]...\n"
                : "kickoff-herd: %s: is no scenario; kickoff-herd --list tells which there are, "
                  "--help the options.\n",
            odd);
        return EXIT_USAGE;
}

int main(int argc, char **argv)
{
        static char command[1024];
        const struct scenario *scenario = argc > 1 ? scenario_find(argv[1]) : NULL;
        int operands = scenario != NULL ? 1 : 0, first, status;
        struct wishes wishes;

        scenario = scenario != NULL ? scenario : scenario_list[0];
        write_command(argc, argv, command, sizeof(command));
        scenario_mend_arguments(argc, argv);
        for (size_t i = 0; i < countof(options); i++) {
                const char *own = scenario_default_of(scenario, options[i].name);

                if (own != NULL)
                        options[i].default_value = own;
        }
        switch (option_parse(&program, argc, argv, false, &first)) {
        case OPTION_DONE:
                return EXIT_PASSED;
        case OPTION_WRONG:
                return EXIT_USAGE;
        case OPTION_RUN:
                break;
        }
        if (wanted.list)
                return list_scenarios();
        if (first + operands < argc)
                return refuse_operand(argv[first + operands]);
        status = read_wishes(&wishes);
        if (status != EXIT_PASSED)
                return status;
        watch_signals();
        return play(scenario, &wishes, command);
}
