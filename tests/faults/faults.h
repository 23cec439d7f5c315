/* tests/faults/faults.h -- how a fault test is written. A case is one function in a file cases_*.c;
 * the file is found by itself, and the case registers itself:
 *
 *   FAULT(1, "Redis is killed and restarts",
 *         "nothing acknowledged is lost, no device reconnects, changes go on within 2 s",
 *         .quick = true, .limit_s = 60)
 *   {
 *           struct scene *s = scene_open(&(struct scene_options){ .n_nodes = 2, .pace_ms = 5 });
 *
 *           producer_until_more(s->producer, 20);
 *           test_redis_restart(s->redis);
 *           ...
 *           kept_within("changes_again", scene_ms_since(killed_us), 2000, SLACK_MS);
 *           scene_close(s);
 *   }
 *
 * It runs in a process of its own (may crash, hang, or change its network and limits), with TMPDIR
 * set to a directory of its own, stdout and stderr in a log. It is kept if it returns without
 * broken(), give_up() or a crash, within limit_s. What it measured goes into the table by figure().
 * A case without the rights it needs is skipped, loudly, and never counts as kept.
 *
 * What a case asserts is what the contract says, and which line. Times that are promises are
 * measured and judged with kept_within; nothing else about time is asserted. Waiting is for a
 * condition, with PATIENCE_MS. See scene.h for the usual stage: Redis, nodes, devices, a producer,
 * and the checker at the end. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What a busy machine may add to a promised time: other processes run on the same few cores,
 * sanitizers slow things down. Said in the results beside each figure that is judged with it. */
#define SLACK_MS 2000

enum fault_needs {
        NEEDS_NOTHING = 0,
        NEEDS_NETNS =
            1, /* a network of its own: tests/support/netns.h. The case begins in it, at home */
        NEEDS_ROOT = 2 /* mounts, cgroups */
};

struct fault {
        unsigned number;     /* of the list of faults; RESULTS.md has it whole */
        char letter;         /* several cases of one number: 'a', 'b', ...; 0 = the only one */
        const char *fault;   /* what is done */
        const char *promise; /* what holds nevertheless: the contract's words, a few of them */
        bool quick;          /* in CI: a few seconds at most */
        unsigned needs;      /* of enum fault_needs */
        unsigned
            limit_s; /* then it counts as broken; 0 = 60. Sanitizer builds get three times that */
        /* The product does not keep it yet: why, in a few words. The result is BROKEN all the same
         * and says so, but the exit status is not about it. To be taken out with the change that
         * mends it. */
        const char *known_broken;
        void (*run)(void);
        struct fault *next; /* the runner's */
};

void fault_register(struct fault *fault);

/* FAULT(number, fault, promise, further members of struct fault...) { body } */
#define FAULT(n, ...) FAULT_LETTER(n, _, 0, __VA_ARGS__)
/* FAULT_OF(16, a, ...): the case 16a. */
#define FAULT_OF(n, l, ...) FAULT_LETTER(n, l, #l[0], __VA_ARGS__)
#define FAULT_LETTER(n, l, c, what, why, ...)                                \
        static void fault_##n##l(void);                                      \
        __attribute__((constructor)) static void fault_register_##n##l(void) \
        {                                                                    \
                static struct fault self = { .number = (n),                  \
                                             .letter = (c),                  \
                                             .fault = (what),                \
                                             .promise = (why),               \
                                             .run = fault_##n##l,            \
                                             __VA_ARGS__ };                  \
                fault_register(&self);                                       \
        }                                                                    \
        static void fault_##n##l(void)

/* -- inside a case -- */
extern bool faults_thorough; /* --all, or the case was named: more rounds than in CI */

/* The promise is broken; say which line of the contract. The case goes on. */
void broken(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* This cannot be tested here: it is skipped from here on. Does not return. */
_Noreturn void skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* For the table: "name=value", such as figure("lag_p99", "%.1f ms", ms). */
void figure(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A time that is promised: a figure, and broken if above limit + slack. */
void kept_within(const char *name, double ms, double limit_ms, double slack_ms);
#define CHECK_KEPT(condition, ...)           \
        do {                                 \
                if (!(condition))            \
                        broken(__VA_ARGS__); \
        } while (0)
