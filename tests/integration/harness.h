/* tests/integration/harness.h -- real parts for whole-path tests: kickoffd, kickoff and kickoff-herd as
 * processes, a real redis-server, the SDK as the independent client. Everything dies with the test.
 * Whatever goes wrong in here ends the test with a sentence that says what and shows the node's log.
 * Programs come from KICKOFF_BIN_DIR in the environment, else from this build. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include "device/c/kickoff_device.h"
#include "proto/message.h"

/* Nothing here waits longer for anything that must come. Generous: a sanitizer build on a busy machine. */
#define PATIENCE_MS 60000

_Noreturn void give_up(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Call `met` every few ms until it is true; gives up with `what` after PATIENCE_MS. */
void wait_until(bool (*met)(void *arg), void *arg, const char *what);

/* -- nodes -- */
struct test_node {
        pid_t pid;
        char dir[64]; /* its own temporary directory: data/, log */
        uint16_t port, admin_port; /* admin_port 0: --admin=none */
        char url[64], admin[64]; /* ws://127.0.0.1:PORT, http://127.0.0.1:PORT */
        /* Set by the test before node_start, or NULL: runs in the new process before it becomes
         * kickoffd, at each start: a limit, an environment variable, a network namespace. */
        void (*in_child)(void *arg);
        void *in_child_arg;
};

/* kickoffd on free ports with one worker and these further arguments, up to a NULL; waits until it says
 * NODE-READY. Later arguments win over earlier ones, so --listen=127.0.0.1:PORT names a port. */
void node_start(struct test_node *node, ...) __attribute__((sentinel));
void node_kill(struct test_node *node);               /* kill -9, and waits until it is gone */
int node_stop(struct test_node *node, int signal);    /* returns its exit status */
void node_end(struct test_node *node); /* stops it, which must go well, and removes its directory */
bool node_log_has(const struct test_node *node, const char *text);
/* Sum of the rows of /metrics whose name begins with `prefix` (labels included). */
int64_t node_metric(const struct test_node *node, const char *prefix);

/* -- producers -- */
struct answer {
        int status;
        json_t *json; /* NULL if the body was none; freed by answer_end */
};
/* `body` is JSON or NULL; `key` NULL draws a fresh Idempotency-Key. */
struct answer ask(const struct test_node *node, const char *method, const char *path, const char *body,
                  const char *key);
/* The same, but status 0 if no answer came within the time; ret_unsent (or NULL): not even connected. */
struct answer ask_within(const struct test_node *node, unsigned timeout_ms, const char *method,
                         const char *path, const char *body, const char *key, bool *ret_unsent);
void answer_end(struct answer *answer);
/* The same, where only success will do, for a node of one worker: returns the signal's seq, once that
 * worker has it too (0 if the answer has none). */
seqno change(const struct test_node *node, const char *method, const char *path, const char *body);
void create_event(const struct test_node *node, const char *id); /* starts in an hour */

/* -- devices -- */
#define RECORD_MAX 4096
struct recorder { /* a device on the SDK that remembers what it was told */
        struct kickoff_device *device;
        struct signal signals[RECORD_MAX];
        size_t n_signals;
        unsigned hellos, resets, goaways;
        struct hello hello; /* the latest */
        enum reset_reason reset_reason;
        size_t n_events; /* of the latest reset */
        struct event_state events[16];
};
/* Connects, and waits for hello (and reset, if one follows). */
void recorder_start(struct recorder *recorder, const struct test_node *node, const char *device,
                    const char *since, enum encoding encoding);
void recorder_until_signals(struct recorder *recorder, size_t n); /* runs it until it has n or more */
void recorder_run(struct recorder *recorder, unsigned ms); /* just let it run */
void recorder_end(struct recorder *recorder);

/* -- other programs -- */
/* Runs a program to its end; stdout (malloc'd, NUL-terminated) in *ret_out. Returns its exit status. */
int run_program(char **ret_out, const char *program, ...) __attribute__((sentinel));

/* kickoffd with these arguments, up to a NULL, must end with exit status 1, saying so on stderr. */
void node_refuses(const char *saying, ...) __attribute__((sentinel));

/* A connected TCP socket to the node; with receive_buffer > 0 as its SO_RCVBUF. */
int raw_connect(const struct test_node *node, int receive_buffer);
/* Sends a WebSocket upgrade for `device` and reads up to the end of the 101 head. */
void raw_upgrade(int fd, const char *device, const char *query);
