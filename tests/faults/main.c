/* tests/faults/main.c -- runs fault cases one after the other, each in a process of its own, and
 * says of each whether its promise was kept. Decides nothing about promises: the cases do
 * (faults.h). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "base/check.h"
#include "base/clock.h"
#include "tests/faults/faults.h"
#include "tests/integration/harness.h"
#include "tests/support/netns.h"

#define LIMIT_S         60
#define SANITIZED_TIMES 3
#define LOG_TAIL        3000

static const char usage[] =
    "usage: faults --list                    the cases, and what each needs\n"
    "       faults --quick | --all           the ones for CI, or all\n"
    "       faults NUMBER...                 these, thoroughly: 1 16a 21\n"
    "options: --json        results as JSON on stdout\n"
    "         --markdown F  a table of the results into F\n"
    "         --share K/N   only every N-th of them, from the K-th on: for several runs side by side\n"
    "         --keep        keep the logs and the ledger of cases that were kept, too\n"
    "Exit status 0: nothing was broken, or only what is known to be (look for SKIPPED); 1: something was; 2: wrong usage.\n";

enum verdict { KEPT, BROKEN, SKIPPED };
static const char *const verdict_name[] = { "kept", "BROKEN", "skipped" };

struct result { /* shared with the case's process */
        volatile unsigned n_broken;
        volatile bool skipped;
        char why[900], figures[700], reason[200];
};

static struct fault *faults;
static struct result *result;
static bool keeps_logs;
bool faults_thorough;

/* --- what cases call --- */

static bool comes_before(const struct fault *a, const struct fault *b)
{
        return a->number != b->number ? a->number < b->number : a->letter < b->letter;
}

void fault_register(struct fault *fault)
{
        struct fault **at = &faults;

        while (*at && comes_before(*at, fault))
                at = &(*at)->next;
        if (*at && !comes_before(fault, *at)) {
                fprintf(stderr, "two cases are number %u%c\n", fault->number,
                        fault->letter ? fault->letter : ' ');
                abort();
        }
        fault->next = *at;
        *at = fault;
}

static void append(char *text, size_t size, const char *between, const char *more)
{
        size_t len = strlen(text);

        snprintf(text + len, size - len, "%s%s", len ? between : "", more);
}

void broken(const char *fmt, ...)
{
        char text[400];
        va_list args;

        va_start(args, fmt);
        vsnprintf(text, sizeof(text), fmt, args);
        va_end(args);
        fprintf(stderr, "BROKEN: %s\n", text);
        if (result->n_broken++ < 3)
                append(result->why, sizeof(result->why), "; ", text);
}

void skip(const char *fmt, ...)
{
        va_list args;

        va_start(args, fmt);
        vsnprintf(result->reason, sizeof(result->reason), fmt, args);
        va_end(args);
        result->skipped = true;
        fprintf(stderr, "SKIPPED: %s\n", result->reason);
        exit(0);
}

void figure(const char *name, const char *fmt, ...)
{
        char value[200], text[300];
        va_list args;

        va_start(args, fmt);
        vsnprintf(value, sizeof(value), fmt, args);
        va_end(args);
        snprintf(text, sizeof(text), "%s %s", name, value);
        fprintf(stderr, "FIGURE: %s\n", text);
        append(result->figures, sizeof(result->figures), "; ", text);
}

void kept_within(const char *name, double ms, double limit_ms, double slack_ms)
{
        figure(name, "%.0f ms (promised %.0f, slack %.0f)", ms, limit_ms, slack_ms);
        CHECK_KEPT(ms <= limit_ms + slack_ms, "%s took %.0f ms, promised are %.0f", name, ms,
                   limit_ms);
}

/* --- one case --- */

static void name_of(const struct fault *fault, char name[16])
{
        snprintf(name, 16, fault->letter ? "%u%c" : "%u", fault->number, fault->letter);
}

/* Sanitizers slow down; programs from elsewhere (KICKOFF_BIN_DIR) are there to be sanitized ones.
 */
static unsigned limit_of(const struct fault *fault)
{
        unsigned limit_s = fault->limit_s ? fault->limit_s : LIMIT_S;

#if defined(__SANITIZE_ADDRESS__)
        return limit_s * SANITIZED_TIMES;
#else
        return getenv("KICKOFF_BIN_DIR") ? limit_s * SANITIZED_TIMES : limit_s;
#endif
}

_Noreturn static void run_case(const struct fault *fault, const char *dir, pid_t parent)
{
        char log[200];
        const char *why = "";
        int fd;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setpgid(0, 0);
        if (getppid() != parent)
                _exit(1);
        snprintf(log, sizeof(log), "%s/log", dir);
        fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        check(fd >= 0 && dup2(fd, 1) == 1 && dup2(fd, 2) == 2);
        setenv("TMPDIR", dir, 1);
        if ((fault->needs & NEEDS_ROOT) && geteuid() != 0)
                skip("needs root");
        if (fault->needs & NEEDS_NETNS) {
                if (!netns_are_available(&why))
                        skip("%s", why);
                netns_go_home();
        }
        fault->run();
        fflush(NULL);
        _exit(0); /* no leak check of a test that may have stopped half-way */
}

/* Waits for the case; after the limit, ends it with all that it started. */
static int wait_for_case(pid_t pid, unsigned limit_s)
{
        uint64_t until = clock_mono_ms() + limit_s * 1000;
        int status;

        while (waitpid(pid, &status, WNOHANG) == 0) {
                if (clock_mono_ms() > until) {
                        kill(-pid, SIGKILL);
                        waitpid(pid, &status, 0);
                        broken("not done after %u s", limit_s);
                        break;
                }
                usleep(10000);
        }
        kill(-pid, SIGKILL); /* what it may have left behind; its own group only */
        return status;
}

static void show_log(const char *dir)
{
        char path[220], text[LOG_TAIL + 1];
        FILE *file;
        size_t n;

        snprintf(path, sizeof(path), "%s/log", dir);
        file = fopen(path, "r");
        if (!file)
                return;
        if (fseek(file, -LOG_TAIL, SEEK_END) != 0)
                rewind(file);
        n = fread(text, 1, LOG_TAIL, file);
        text[n] = '\0';
        fclose(file);
        fprintf(stderr, "--- end of %s\n%s---\n", path, text);
}

struct outcome {
        enum verdict verdict;
        double seconds;
        struct result result;
        struct fault *fault;
};

static struct outcome run_fault(struct fault *fault, const char *base)
{
        struct outcome outcome = { .fault = fault };
        char dir[128], name[16], command[160];
        uint64_t begin_ms = clock_mono_ms();
        pid_t parent = getpid(), pid;
        int status;

        name_of(fault, name);
        snprintf(dir, sizeof(dir), "%s/%s", base, name);
        check(mkdir(dir, 0700) == 0);
        memset(result, 0, sizeof(*result));
        fflush(NULL);
        pid = fork();
        check(pid >= 0);
        if (pid == 0)
                run_case(fault, dir, parent);
        status = wait_for_case(pid, limit_of(fault));
        if (result->n_broken == 0 && !result->skipped && status != 0)
                broken("the case ended with %s %d; see its log",
                       WIFSIGNALED(status) ? "signal" : "status",
                       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        outcome.verdict = result->n_broken ? BROKEN : result->skipped ? SKIPPED : KEPT;
        outcome.seconds = (double)(clock_mono_ms() - begin_ms) / 1000.0;
        outcome.result = *result;
        if (outcome.verdict == BROKEN) {
                show_log(dir);
        } else if (!keeps_logs) {
                snprintf(command, sizeof(command), "rm -rf '%s'", dir);
                (void)!system(command);
        }
        return outcome;
}

/* --- telling --- */

static void tell(const struct outcome *o, const char *base)
{
        char name[16];

        name_of(o->fault, name);
        printf("%-4s %-7s %5.1f s  %s: %s\n", name, verdict_name[o->verdict], o->seconds,
               o->fault->fault, o->fault->promise);
        if (o->verdict == BROKEN)
                printf("     BROKEN: %s\n     logs are in %s/%s\n", o->result.why, base, name);
        if (o->verdict != BROKEN && keeps_logs)
                printf("     logs are in %s/%s\n", base, name);
        if (o->verdict == BROKEN && o->fault->known_broken)
                printf("     known: %s\n", o->fault->known_broken);
        if (o->verdict == KEPT && o->fault->known_broken)
                printf("     kept, so take out its known_broken: %s\n", o->fault->known_broken);
        if (o->verdict == SKIPPED)
                printf("     SKIPPED, so nothing is known: %s\n", o->result.reason);
        if (o->result.figures[0])
                printf("     %s\n", o->result.figures);
        printf("     again: tests/faults/run %s\n", name);
        fflush(stdout);
}

static json_t *as_json(const struct outcome *o)
{
        char name[16], command[64];

        name_of(o->fault, name);
        snprintf(command, sizeof(command), "tests/faults/run %s", name);
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:f, s:s}", "case", name, "fault",
                         o->fault->fault, "promise", o->fault->promise, "result",
                         verdict_name[o->verdict], "why", o->result.why, "reason", o->result.reason,
                         "figures", o->result.figures, "seconds", o->seconds, "command", command);
}

static void write_table(FILE *file, const struct outcome *outcomes, size_t n)
{
        fprintf(file, "| # | fault | promise | result | figures | s | again |\n"
                      "|---|---|---|---|---|---|---|\n");
        for (size_t i = 0; i < n; i++) {
                const struct outcome *o = &outcomes[i];
                char name[16];

                name_of(o->fault, name);
                fprintf(file, "| %s | %s | %s | %s%s%s%s%s | %s | %.0f | `tests/faults/run %s` |\n",
                        name, o->fault->fault, o->fault->promise, o->verdict == KEPT ? "" : "**",
                        verdict_name[o->verdict], o->verdict == KEPT ? "" : "**",
                        o->verdict == KEPT ? "" : ": ",
                        o->verdict == BROKEN ? o->result.why : o->result.reason, o->result.figures,
                        o->seconds, name);
        }
}

static void list(void)
{
        for (const struct fault *fault = faults; fault; fault = fault->next) {
                char name[16];

                name_of(fault, name);
                printf("%-4s %-6s %-7s %s: %s\n", name, fault->quick ? "quick" : "",
                       fault->needs & NEEDS_NETNS  ? "netns"
                       : fault->needs & NEEDS_ROOT ? "root"
                                                   : "",
                       fault->fault, fault->promise);
        }
}

/* --- which --- */

static struct fault *find(const char *text)
{
        for (struct fault *fault = faults; fault; fault = fault->next) {
                char name[16];

                name_of(fault, name);
                if (strcmp(name, text) == 0)
                        return fault;
        }
        return NULL;
}

/* "2/4": every fourth case, from the second on, so that several runs side by side do all. */
static size_t take_share(struct fault **chosen, size_t n, const char *share)
{
        unsigned which, of;
        size_t kept = 0;

        if (sscanf(share, "%u/%u", &which, &of) != 2 || which < 1 || which > of) {
                fprintf(stderr, "faults: --share %s: give K/N with 1 <= K <= N\n", share);
                exit(2);
        }
        for (size_t i = which - 1; i < n; i += of)
                chosen[kept++] = chosen[i];
        return kept;
}

static size_t choose(struct fault **chosen, size_t max, bool quick, bool all, char **names,
                     int n_names)
{
        size_t n = 0;

        for (int i = 0; i < n_names; i++) {
                size_t before = n;

                /* "16" means all of 16, 16a, 16b. */
                for (struct fault *fault = faults; fault; fault = fault->next)
                        if (fault == find(names[i]) ||
                            fault->number == strtoul(names[i], NULL, 10)) {
                                bool exact = find(names[i]) != NULL;

                                if ((exact && fault == find(names[i])) ||
                                    (!exact &&
                                     strspn(names[i], "0123456789") == strlen(names[i]))) {
                                        check(n < max);
                                        chosen[n++] = fault;
                                }
                        }
                if (n == before) {
                        fprintf(stderr, "faults: there is no case %s; see --list\n", names[i]);
                        exit(2);
                }
        }
        for (struct fault *fault = faults; fault && n_names == 0; fault = fault->next)
                if (all || (quick && fault->quick)) {
                        check(n < max);
                        chosen[n++] = fault;
                }
        return n;
}

static int run_chosen(struct fault **chosen, size_t n, bool json, const char *markdown)
{
        struct outcome *outcomes = calloc(n, sizeof(*outcomes));
        unsigned counts[3] = { 0 }, known = 0;
        const char *tmp = getenv("TMPDIR");
        char base[64];
        json_t *array = json_array();

        check((size_t)snprintf(base, sizeof(base), "%s/kickoff-faults-XXXXXX",
                               tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp") < sizeof(base));
        check(outcomes != NULL && mkdtemp(base) != NULL);
        for (size_t i = 0; i < n; i++) {
                outcomes[i] = run_fault(chosen[i], base);
                counts[outcomes[i].verdict]++;
                known += outcomes[i].verdict == BROKEN && chosen[i]->known_broken != NULL;
                if (json)
                        json_array_append_new(array, as_json(&outcomes[i]));
                else
                        tell(&outcomes[i], base);
        }
        if (markdown) {
                FILE *file = fopen(markdown, "w");

                check(file != NULL);
                write_table(file, outcomes, n);
                fclose(file);
        }
        if (json)
                json_dumpf(array, stdout, JSON_INDENT(2));
        else
                printf("%zu cases: %u kept, %u BROKEN (%u of them known), %u skipped%s\n", n,
                       counts[KEPT], counts[BROKEN], known, counts[SKIPPED],
                       counts[SKIPPED] ? " (NOT TESTED: run as root, with ip, nft and tc)" : "");
        json_decref(array);
        free(outcomes);
        rmdir(base); /* stays if a case's logs are in it */
        return counts[BROKEN] > known ? 1 : 0;
}

int main(int argc, char **argv)
{
        static const struct option options[] = {
                { "list", no_argument, NULL, 'l' },
                { "quick", no_argument, NULL, 'q' },
                { "all", no_argument, NULL, 'a' },
                { "json", no_argument, NULL, 'j' },
                { "keep", no_argument, NULL, 'k' },
                { "markdown", required_argument, NULL, 'm' },
                { "help", no_argument, NULL, 'h' },
                { "share", required_argument, NULL, 's' },
                { NULL, 0, NULL, 0 },
        };
        struct fault *chosen[256];
        bool quick = false, all = false, json = false;
        const char *markdown = NULL, *share = NULL;
        int option;
        size_t n;

        while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
                switch (option) {
                case 'l':
                        list();
                        return 0;
                case 'q':
                        quick = true;
                        break;
                case 'a':
                        all = true;
                        break;
                case 'j':
                        json = true;
                        break;
                case 'k':
                        keeps_logs = true;
                        break;
                case 'm':
                        markdown = optarg;
                        break;
                case 's':
                        share = optarg;
                        break;
                case 'h':
                        fputs(usage, stdout);
                        return 0;
                default:
                        fputs(usage, stderr);
                        return 2;
                }
        }
        faults_thorough = !quick;
        n = choose(chosen, countof(chosen), quick, all, argv + optind, argc - optind);
        if (share != NULL)
                n = take_share(chosen, n, share);
        if (n == 0) {
                fputs(usage, stderr);
                return 2;
        }
        result =
            mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        check(result != MAP_FAILED);
        return run_chosen(chosen, n, json, markdown);
}
