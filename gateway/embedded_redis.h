/* gateway/embedded_redis.h -- the private redis-server of a node that was given no --redis: a child on a
 * unix socket in the data directory (mode 0700), no TCP port, append-only file, fsync always. It ends
 * with the node, also when the node is killed with -9 (PR_SET_PDEATHSIG). One node per directory: a lock
 * that the child inherits is held until both are gone. Main thread only.
 *
 * The program is redis-server, or valkey-server where only that is installed; KICKOFF_REDIS_SERVER in the
 * environment names another, by its path or to be found in PATH. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"

struct event_base;
struct embedded_redis;

/* The child ended although nobody asked it to. Runs on the loop. */
typedef void embedded_redis_died_fn(void *owner, const char *why);

/* Makes `dir`, takes the lock (waits up to 5 s for a predecessor to end), starts redis-server.
 * *ret_address is where it will answer shortly. On an error *ret_why is a sentence that says what to do. */
must_check enum err embedded_redis_start(struct event_base *base, const char *dir, bool fsync,
                                         embedded_redis_died_fn *died, void *owner,
                                         struct redis_address *ret_address,
                                         struct embedded_redis **ret_redis, const char **ret_why);
pid_t embedded_redis_pid(const struct embedded_redis *redis);
/* SIGTERM, wait for its clean end (up to 10 s, then SIGKILL). NULL is fine. */
void embedded_redis_stop(struct embedded_redis *redis);
