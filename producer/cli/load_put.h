/* producer/cli/load_put.h -- puts many bundles as drafts, several at a time. A bundle that the node
 * could not take just now (503, 429, 504, no answer) is put again after the time that it names;
 * putting twice is the same as once. What is refused ends everything, for nothing is published
 * unless all are there. */
#pragma once

#include <stddef.h>

#include "producer/cli/bundle_files.h"
#include "producer/cli/cli.h"
#include "producer/cli/load_plan.h"

#define LOAD_JOBS_DEFAULT 8
#define LOAD_JOBS_MAX     64
#define LOAD_TRIES        12 /* of one bundle; together with the waits between them about a minute */

/* Puts the files whose state is LOAD_SEND, with `jobs` threads. Progress and what went wrong are on
 * stderr; *ret_stored counts those that are stored, also on failure. Returns when all threads have
 * ended. */
must_check enum cli_exit load_put(const struct cli *cli, const char *event, const char *directory,
                                  const struct bundle_file *files, const enum load_state *states,
                                  size_t n, unsigned jobs, size_t *ret_stored);

/* How long to wait before try number `tries` + 1: what the node named, else longer each time; plus
 * up to a half, so that the threads do not come back together. `chance` is any number. Pure. */
unsigned load_put_wait_ms(unsigned retry_after_s, unsigned tries, uint64_t chance);
