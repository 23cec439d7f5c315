/* tests/sim/invariants.h -- the contract, as questions asked at every step. Each is named after the
 * line it is about. A broken one prints the seed, the step, the last happenings and the command
 * that repeats them, and ends the process with status 1; so does a failed check() in the code under
 * test. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "fanout/snapshot.h"
#include "proto/close.h"
#include "tests/sim/world.h"

struct worker;

/* Whose happenings to print if something breaks; NULL = nobody's. */
void invariants_watch(struct world *world);
void invariants_broken(struct world *world, const char *line, const char *fmt, ...)
    printf_like(3, 4);

/* --- what is written (invariants_log.c) ------------------------------------------------------- */
bool invariants_has_copies(const struct world *world, const struct past *past);
/* Does this server have the change, or a later one of the same event? */
bool invariants_is_kept(const struct model *model, const struct past *past);
/* A write was carried out and is in the book: lines 3 same_key, 7 new_epoch, 13 one_winner. */
void invariants_committed(struct world *world, const struct past *past, unsigned server,
                          const struct token *witness);
/* It is released to everybody: line 2 no_phantoms. */
void invariants_shown(struct world *world, struct past *past, unsigned server);
/* A producer was told: lines 1 durable, 3 same_key, 13 one_winner. `wanted` version or 0. */
void invariants_acknowledged(struct world *world, const char *key, const struct token *token,
                             uint64_t version, uint64_t wanted);
/* A server came back with less: line 1 durable. `rolled_back`: more than the mode allows was taken.
 */
void invariants_lost(struct world *world, const struct past *past, bool rolled_back);
/* A new epoch has begun there: lines 1 durable, 2 no_phantoms. */
void invariants_renewed(struct world *world, const struct server *server);

/* --- what is held ----------------------------------------------------------------------------- */
/* A node holds another state: lines 2 no_phantoms, 6 no_silent_gap, 7 never_backwards,
 * nothing_forgotten. */
void invariants_node(struct world *world, struct node *node, bool installed);
/* At every tick of a node: line 8 blindness. */
void invariants_node_sight(struct world *world, struct node *node);
/* The same: line 7 new_epoch. */
void invariants_node_loss(struct world *world, struct node *node);
/* A worker's ring has moved: line 11 bounds, 6 no_silent_gap. */
void invariants_worker(struct world *world, struct worker *worker);
/* It is told to leave since its lifetime is over: is it? */
void invariants_recycled(struct world *world, const struct sim_conn *conn);
/* After anything was done to it: line 11 bounds. */
void invariants_conn(struct world *world, const struct sim_conn *conn);

/* A device's app is handed something; called before, and after it has taken it in. */
void invariants_device_signal(struct world *world, struct device *device,
                              const struct signal *signal);
void invariants_device_reset(struct world *world, struct device *device, const struct token *token,
                             enum reset_reason reason);
void invariants_device_state(struct world *world, struct device *device, bool was_reset);

/* --- signals for some (invariants_target.c) --------------------------------------------------- */
bool invariants_is_for(const struct device *device, const struct past *past);
/* It is told that all up to `token` was not for it: lines 4 one_order, 5 at_least_once, 2
 * no_phantoms. */
void invariants_device_skip(struct world *world, struct device *device, const struct token *token);
/* What it holds, with what it was passed over for: the whole state at its place. Returns how many
 * events. */
size_t invariants_whole_state(const struct device *device,
                              struct event_state states[EVENTS_AT_ALL]);
/* Between its place and the head there is nothing for it. */
bool invariants_lacks_nothing(const struct world *world, const struct device *device,
                              const struct token *head);

/* Either end gives up on the other: devices and nodes keep to the protocol, so never for a breach
 * of it (line 6 no_silent_gap, line 11 no_harm). */
void invariants_device_closes(struct world *world, const struct device *device,
                              enum close_reason reason, const char *why);
void invariants_node_closes(struct world *world, const struct sim_conn *conn,
                            enum close_reason reason);

void invariants_at_quiet(struct world *world);
void invariants_soon_after_quiet(struct world *world);
void invariants_at_the_end(struct world *world);
