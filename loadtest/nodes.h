/* loadtest/nodes.h -- nodes of a scenario's own, to kill and to restart: kickoffd processes on free
 * loopback ports, on one Redis. That Redis is the private one of a further kickoffd, the *keeper*,
 * which holds no device and is never harmed: what a scenario breaks is nodes, and the admin API
 * that it tells signals to stays. All of it lives in a temporary directory, and ends with this
 * process however that ends. Main thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/check.h"
#include "base/err.h"
#include "loadtest/net.h"

#define NODES_MAX 16

struct nodes;

struct nodes_options {
        unsigned n;          /* 1 .. NODES_MAX */
        unsigned workers;    /* of each */
        const char *program; /* kickoffd; NULL: the one beside this program, else the one in PATH */
};

/* Returns when all of them are ready. ERR_UNAVAILABLE: they are not, ret_why (256 bytes) says what
 * is wrong and where the log is. */
must_check enum err nodes_start(const struct nodes_options *options, struct nodes **ret_nodes,
                                char *ret_why);
/* Ends all in order, and removes the directory. NULL is fine. */
void nodes_stop(struct nodes *nodes);
unsigned nodes_n(const struct nodes *nodes);
const char *nodes_name(const struct nodes *nodes, unsigned i); /* "node-1" */
pid_t nodes_pid(const struct nodes *nodes, unsigned i);        /* 0: it does not run */
const char *nodes_admin(const struct nodes *nodes);            /* the keeper's */
const char *nodes_url(const struct nodes *nodes, unsigned i);  /* ws://127.0.0.1:PORT */
void nodes_targets(const struct nodes *nodes, struct net_target targets[NET_TARGETS_MAX]);

void nodes_kill(struct nodes *nodes, unsigned i); /* -9; returns when it is gone */
/* True once it has ended; *ret_status as waitpid() has it. */
bool nodes_has_ended(struct nodes *nodes, unsigned i, int *ret_status);
/* The same node again, on the same port; returns at once. */
must_check enum err nodes_start_again(struct nodes *nodes, unsigned i);
bool nodes_is_ready(struct nodes *nodes, unsigned i);
