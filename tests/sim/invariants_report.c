/* tests/sim/invariants_report.c -- what is said when a promise was broken. */
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/sim/invariants.h"

static struct world *watched;

static void print_report(const struct world *world)
{
        printf("at step %" PRIu64 ", virtual time %" PRIu64 " ms. The last happenings:\n",
               world->step, world->now_ms);
        trace_print(&world->trace);
        faults_print(world);
        printf("repeat with: sim --seed %" PRIu64 " --trace\n", world->seed);
        fflush(stdout);
}

void invariants_broken(struct world *world, const char *line, const char *fmt, ...)
{
        va_list args;

        printf("BROKEN %s: ", line);
        va_start(args, fmt);
        vprintf(fmt, args);
        va_end(args);
        putchar('\n');
        print_report(world);
        _exit(1);
}

static void on_signal(int signal)
{
        printf("BROKEN check: the code under test stopped itself (signal %d), see stderr\n",
               signal);
        if (watched != NULL)
                print_report(watched);
        _exit(1);
}

void invariants_watch(struct world *world)
{
        watched = world;
        signal(SIGABRT, on_signal);
        signal(SIGSEGV, on_signal);
}
