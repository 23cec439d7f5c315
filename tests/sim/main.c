/* tests/sim/main.c -- runs many seeds, in several processes, or one seed aloud. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/sim/world.h"

#define TWICE_EVERY      100 /* seeds: one is run again, and must do the very same */
#define JOBS_MAX         64
#define PROGRESS_EVERY_S 10

static const char usage[] =
    "usage: sim [--seeds N] [--from SEED] [--jobs J]   N seeds (2000) from SEED (1) on\n"
    "       sim --seed SEED [--trace]                  one, and what happens in it\n"
    "--progress: on stderr, every 10 s. --commit TEXT: named in the last line.\n"
    "Exit status 1: a promise was broken; what, and how to see it again, is on stdout.\n"
    "Ctrl-C ends it, with what was done so far in the last line; then the status is 130.\n";

struct totals { /* shared by the processes */
        _Atomic uint64_t seeds, steps, commits, signals, resets, skips, renewals, failovers;
};

struct plan {
        struct world_options options;
        uint64_t from, seeds;
        unsigned jobs;
        bool progress;
        const char *commit;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
        (void)signal;
        interrupted = 1;
}

/* --- in a child ----------------------------------------------------------------------------- */

static uint64_t run_one(const struct world_options *options, struct totals *totals)
{
        struct world *world = world_run(options);
        uint64_t hash = world->trace.hash;

        totals->steps += world->step;
        totals->commits += world->counted_commits;
        totals->signals += world->counted_signals;
        totals->resets += world->counted_resets;
        totals->skips += world->counted_skips;
        totals->renewals += world->counted_renewals;
        totals->failovers += world->counted_failovers;
        world_destroy(world);
        return hash;
}

static void run_share(const struct plan *plan, unsigned job, struct totals *totals)
{
        struct world_options mine = plan->options;

        for (uint64_t i = job; i < plan->seeds; i += plan->jobs) {
                uint64_t hash;

                mine.seed = plan->from + i;
                hash = run_one(&mine, totals);
                if (mine.seed % TWICE_EVERY == 0 && run_one(&mine, totals) != hash) {
                        printf("BROKEN repeatability: seed %" PRIu64 " does not repeat itself\n",
                               mine.seed);
                        fflush(stdout);
                        _exit(1);
                }
                totals->seeds++;
        }
}

/* --- in the parent -------------------------------------------------------------------------- */

static double seconds_since(const struct timespec *begin)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)(now.tv_sec - begin->tv_sec) + (double)(now.tv_nsec - begin->tv_nsec) / 1e9;
}

static void kill_all(const pid_t *children, unsigned n)
{
        for (unsigned i = 0; i < n; i++) {
                if (children[i] != 0)
                        kill(children[i], SIGKILL);
        }
}

static void start_all(const struct plan *plan, struct totals *totals, pid_t *children)
{
        fflush(stdout);
        for (unsigned i = 0; i < plan->jobs; i++) {
                children[i] = fork();
                check(children[i] >= 0);
                if (children[i] == 0) {
                        signal(SIGINT, SIG_IGN); /* the parent ends us */
                        prctl(PR_SET_PDEATHSIG, SIGKILL);
                        run_share(plan, i, totals);
                        fflush(stdout);
                        _exit(0);
                }
        }
}

/* The first that finds something ends the others. How many did: 0 or 1. */
static int run_all(const struct plan *plan, struct totals *totals, const struct timespec *begin)
{
        const struct timespec moment = { 0, 100000000 };
        pid_t children[JOBS_MAX];
        double next_s = PROGRESS_EVERY_S;
        unsigned left = plan->jobs;
        int violations = 0;

        start_all(plan, totals, children);
        while (left > 0) {
                int status;
                pid_t ended = waitpid(-1, &status, WNOHANG);

                if (ended <= 0) {
                        nanosleep(&moment, NULL);
                        if (interrupted)
                                kill_all(children, plan->jobs);
                        if (plan->progress && seconds_since(begin) >= next_s) {
                                fprintf(stderr, "%" PRIu64 " of %" PRIu64 " seeds, %.0f s\n",
                                        totals->seeds, plan->seeds, seconds_since(begin));
                                next_s += PROGRESS_EVERY_S;
                        }
                        continue;
                }
                left--;
                for (unsigned i = 0; i < plan->jobs; i++) {
                        if (children[i] == ended)
                                children[i] = 0;
                }
                if (violations == 0 && !interrupted && status != 0) {
                        violations = 1;
                        kill_all(children, plan->jobs);
                }
        }
        return violations;
}

static int run(const struct plan *plan, struct totals *totals)
{
        const struct sigaction on_signal = { .sa_handler = on_interrupt };
        struct timespec begin;
        int violations;

        check(sigaction(SIGINT, &on_signal, NULL) == 0);
        check(sigaction(SIGTERM, &on_signal, NULL) == 0);
        clock_gettime(CLOCK_MONOTONIC, &begin);
        violations = run_all(plan, totals, &begin);
        printf("%" PRIu64 " steps, %" PRIu64 " signals committed, %" PRIu64
               " acted on by devices, %" PRIu64 " skips, %" PRIu64 " resets, %" PRIu64 " epochs, %" PRIu64
               " failovers\n",
               totals->steps, totals->commits, totals->signals, totals->skips, totals->resets, totals->renewals,
               totals->failovers);
        printf("%" PRIu64 " of %" PRIu64 " seeds from %" PRIu64
               " on in %.1f s%s: %d violations%s%s\n",
               totals->seeds, plan->seeds, plan->from, seconds_since(&begin),
               interrupted ? ", interrupted" : "", violations,
               plan->commit[0] != '\0' ? ", commit " : "", plan->commit);
        if (violations > 0)
                return 1;
        return interrupted ? 130 : 0;
}

static uint64_t number(const char *text)
{
        char *end;
        uint64_t value = strtoull(text, &end, 10);

        if (*text == '\0' || *end != '\0') {
                fprintf(stderr, "not a number: %s\n%s", text, usage);
                exit(2);
        }
        return value;
}

/* True: one seed alone. */
static bool read_options(int argc, char **argv, struct plan *plan)
{
        static const struct option table[] = { { "seeds", required_argument, NULL, 'n' },
                                               { "from", required_argument, NULL, 'f' },
                                               { "seed", required_argument, NULL, 's' },
                                               { "trace", no_argument, NULL, 't' },
                                               { "jobs", required_argument, NULL, 'j' },
                                               { "progress", no_argument, NULL, 'p' },
                                               { "commit", required_argument, NULL, 'c' },
                                               { "help", no_argument, NULL, 'h' },
                                               { NULL, 0, NULL, 0 } };
        bool one = false;
        int option;

        while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
                switch (option) {
                case 'n':
                        plan->seeds = number(optarg);
                        break;
                case 'f':
                        plan->from = number(optarg);
                        break;
                case 's':
                        one = true;
                        plan->options.seed = number(optarg);
                        break;
                case 't':
                        plan->options.trace = true;
                        break;
                case 'j':
                        plan->jobs = (unsigned)number(optarg);
                        break;
                case 'p':
                        plan->progress = true;
                        break;
                case 'c':
                        plan->commit = optarg;
                        break;
                default:
                        fputs(usage, option == 'h' ? stdout : stderr);
                        exit(option == 'h' ? 0 : 2);
                }
        }
        if (optind < argc || plan->jobs == 0 || plan->jobs > JOBS_MAX) {
                fputs(usage, stderr);
                exit(2);
        }
        return one;
}

int main(int argc, char **argv)
{
        struct plan plan = { .seeds = 2000, .from = 1, .jobs = 1, .commit = "" };
        bool one = read_options(argc, argv, &plan);
        struct totals *totals =
            mmap(NULL, sizeof(*totals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        check(totals != MAP_FAILED);
        if (!one)
                return run(&plan, totals);
        run_one(&plan.options, totals);
        printf("seed %" PRIu64 ": every promise held\n", plan.options.seed);
        return 0;
}
