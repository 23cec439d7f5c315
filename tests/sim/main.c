/* tests/sim/main.c -- runs many seeds, in several processes, or one seed aloud. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/sim/world.h"

#define TWICE_EVERY 100 /* seeds: one is run again, and must do the very same */
#define JOBS_MAX    64

static const char usage[] =
    "usage: sim [--seeds N] [--from SEED] [--jobs J]   N seeds (2000) from SEED (1) on\n"
    "       sim --seed SEED [--trace]                  one, and what happens in it\n"
    "Exit status 1: a promise was broken; what, and how to see it again, is on stdout.\n";

struct totals { /* shared by the processes */
        _Atomic uint64_t seeds, steps, commits, signals, resets;
};

static uint64_t run_one(const struct world_options *options, struct totals *totals)
{
        struct world *world = world_run(options);
        uint64_t hash = world->trace.hash;

        totals->seeds++;
        totals->steps += world->step;
        totals->commits += world->counted_commits;
        totals->signals += world->counted_signals;
        totals->resets += world->counted_resets;
        world_destroy(world);
        return hash;
}

static void run_share(const struct world_options *options, uint64_t from, uint64_t n, unsigned jobs,
                      struct totals *totals)
{
        struct world_options mine = *options;

        for (uint64_t seed = from; seed < from + n; seed += jobs) {
                uint64_t hash;

                mine.seed = seed;
                hash = run_one(&mine, totals);
                if (seed % TWICE_EVERY == 0 && run_one(&mine, totals) != hash) {
                        printf("BROKEN repeatability: seed %" PRIu64 " does not repeat itself\n",
                               seed);
                        fflush(stdout);
                        _exit(1);
                }
        }
}

/* The first that finds something ends the others. */
static int run_all(const struct world_options *options, uint64_t from, uint64_t n, unsigned jobs,
                   struct totals *totals)
{
        pid_t children[JOBS_MAX];
        int result = 0;

        fflush(stdout);
        for (unsigned i = 0; i < jobs; i++) {
                children[i] = fork();
                check(children[i] >= 0);
                if (children[i] == 0) {
                        prctl(PR_SET_PDEATHSIG, SIGKILL);
                        run_share(options, from + i, n > i ? n - i : 0, jobs, totals);
                        fflush(stdout);
                        _exit(0);
                }
        }
        for (unsigned left = jobs; left > 0; left--) {
                int status;
                pid_t ended = wait(&status);

                for (unsigned i = 0; i < jobs; i++) {
                        if (children[i] == ended)
                                children[i] = 0;
                }
                if (result != 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
                        continue;
                result = 1;
                for (unsigned i = 0; i < jobs; i++) {
                        if (children[i] != 0)
                                kill(children[i], SIGKILL);
                }
        }
        return result;
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

int main(int argc, char **argv)
{
        static const struct option table[] = { { "seeds", required_argument, NULL, 'n' },
                                               { "from", required_argument, NULL, 'f' },
                                               { "seed", required_argument, NULL, 's' },
                                               { "trace", no_argument, NULL, 't' },
                                               { "jobs", required_argument, NULL, 'j' },
                                               { "help", no_argument, NULL, 'h' },
                                               { NULL, 0, NULL, 0 } };
        struct world_options options = { .seed = 0 };
        struct totals *totals;
        uint64_t seeds = 2000, from = 1;
        unsigned jobs = 1;
        bool one = false;
        int option, result = 0;
        struct timespec begin, end;

        while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
                switch (option) {
                case 'n':
                        seeds = number(optarg);
                        break;
                case 'f':
                        from = number(optarg);
                        break;
                case 's':
                        one = true;
                        options.seed = number(optarg);
                        break;
                case 't':
                        options.trace = true;
                        break;
                case 'j':
                        jobs = (unsigned)number(optarg);
                        break;
                default:
                        fputs(usage, option == 'h' ? stdout : stderr);
                        return option == 'h' ? 0 : 2;
                }
        }
        if (optind < argc || jobs == 0 || jobs > JOBS_MAX) {
                fputs(usage, stderr);
                return 2;
        }
        totals =
            mmap(NULL, sizeof(*totals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        check(totals != MAP_FAILED);
        clock_gettime(CLOCK_MONOTONIC, &begin);
        if (one)
                run_one(&options, totals);
        else
                result = run_all(&options, from, seeds, jobs, totals);
        clock_gettime(CLOCK_MONOTONIC, &end);
        if (result == 0)
                printf(
                    "%" PRIu64 " runs, %" PRIu64 " steps, %" PRIu64 " signals committed, %" PRIu64
                    " acted on by devices, %" PRIu64 " resets: every promise held (%.1f s)\n",
                    totals->seeds, totals->steps, totals->commits, totals->signals, totals->resets,
                    (double)(end.tv_sec - begin.tv_sec) +
                        (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
        return result;
}
