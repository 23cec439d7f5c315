/* loadtest/fleet.h -- swarms in processes of their own, because one process may hold only so many
 * descriptors: forks them, sums up what they report over pipes, and gathers their proof at the end.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "loadtest/swarm.h"
#include "loadtest/witness.h"

#define FLEET_PROCESS_DEVICES 15000 /* per process, descriptors allowing */

struct fleet;

/* `options`.first, .n, .turn, .board, .seed and .connects_per_s are set per process here;
 * connects_per_s, window and back_window are given for all together. fetch_slots other than 0: as
 * many as the process has devices. Call before any thread exists. ERR_NOMEM, ERR_IO (fork). */
must_check enum err fleet_start(const struct swarm_options *options, uint32_t devices,
                                uint64_t descriptors, struct fleet **ret_fleet);
unsigned fleet_processes(const struct fleet *fleet);
struct swarm_board *fleet_board(struct fleet *fleet);
/* Takes in what the processes report, waiting for up to timeout_ms for the first. False when a
 * process ended before it was told to. */
bool fleet_poll(struct fleet *fleet, int timeout_ms);
struct swarm_counts fleet_counts(const struct fleet *fleet); /* sums of the latest reports */
/* What happened so far, of all processes; from the board's origin_us on, which fleet_start sets.
 * Complete after fleet_finish. */
const struct series *fleet_series(const struct fleet *fleet);
void fleet_take_series(struct fleet *fleet,
                       struct series *ret_series); /* the caller's from then on */
/* Tells all to finish, and gathers. False when the result of a process is missing. */
bool fleet_finish(struct fleet *fleet, struct swarm_result *ret_result, struct witness *seen);
/* Waits until the processes, having said goodbye to the nodes, have ended; kills what stays. */
void fleet_destroy(struct fleet *fleet);
