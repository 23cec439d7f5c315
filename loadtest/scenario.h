/* loadtest/scenario.h -- the contract of a scenario: one small file, scenario_NAME.c, with one
 * `const struct scenario`, listed in scenario.c. It plays with loadtest/play.h, puts figures into
 * its account, and is judged by a pure function over that, which can be tested without playing.
 *
 * Every scenario is bounded: by the devices asked for, by --timeout without progress, by --for
 * where it goes on by itself; and it ends, with all it has started, on Ctrl-C. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "loadtest/account.h"
#include "loadtest/swarm.h"

#define SCENARIO_DEFAULTS_MAX 12
#define SCENARIO_RUNS_MAX     2 /* accounts that one scenario may come to */

struct wishes { /* what the command line asks for; all borrowed */
        uint32_t devices;
        unsigned nodes, workers; /* nodes of our own; 0: those at targets */
        const char *kickoffd;    /* NULL: found by nodes.h */
        const struct net_target *targets;
        unsigned n_targets;
        const char *admin_url, *bearer;
        const char *event; /* NULL: a fresh one */
        enum swarm_encodings encodings;
        struct cohorts cohorts;
        struct model model;
        uint64_t connects_per_s; /* 0 = all at once */
        unsigned stages;         /* signals after the start */
        uint32_t bundle_bytes;
        int64_t patience_ms; /* without any progress */
        int64_t for_ms;      /* how long what goes on by itself goes on */
        int64_t window_ms;   /* over which devices prefetch */
        int64_t every_ms;    /* between signals that go out by themselves */
        int64_t late_ms;
        int64_t lead_ms; /* so long before its moment a start is announced, where that is played */
        int64_t skew_ms; /* devices' clocks are wrong by up to so much, where that is played */
        uint32_t churn; /* per minute, in ten-thousandths of the devices */
        bool no_prefetch, no_ack, hold, is_quiet;
        const volatile sig_atomic_t *stop; /* Ctrl-C */
};

struct scenario {
        const char *name;     /* "reconnect-storm" */
        const char *title;    /* of a page about it: a few words */
        const char *sentence; /* what happens */
        const char *promise;  /* what must hold, and is judged */
        const char *runs[SCENARIO_RUNS_MAX]; /* what two runs are called beside each other; else NULL */
        /* Defaults that differ from those of `start`. */
        struct scenario_default {
                const char *option, *value;
        } defaults[SCENARIO_DEFAULTS_MAX];
        /* Plays, and fills in *accounts and *ret_n of them. ERR_UNAVAILABLE, ERR_CONFLICT,
         * ERR_INVALID (such wishes cannot be played) and others: accounts[0].why tells; nothing has
         * happened. */
        enum err (*run)(const struct wishes *wishes, struct account accounts[SCENARIO_RUNS_MAX],
                        unsigned *ret_n);
        /* Not called for a run that was interrupted. Judges accounts[0] or all of them. Pure. */
        void (*judge)(struct account *accounts, unsigned n);
};

extern const struct scenario scenario_start, scenario_connect_storm, scenario_reconnect_storm,
    scenario_stampede, scenario_spread, scenario_compare, scenario_together, scenario_slow_readers,
    scenario_rolling_restart, scenario_soak;

extern const struct scenario *const scenario_list[];    /* up to a NULL; the first is the default */
const struct scenario *scenario_find(const char *name); /* NULL: there is none */
/* The default of an option in this scenario; NULL: that of `start`. */
const char *scenario_default_of(const struct scenario *scenario, const char *option);
/* --list */
void scenario_print_list(struct buf *out);
/* An option that may stand without its value: `--json` is put as `--json=-` where no file follows,
 * that is, at the end, before another option, and before the name of a scenario. */
void scenario_mend_arguments(int argc, char **argv);
