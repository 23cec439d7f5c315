/* producer/cli/drain_view.h -- how far a node is that was told to leave, from what the admin API
 * says, and how that looks. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "producer/cli/cli.h"

enum drain_stand {
        DRAIN_WAITS, /* has not read the order yet */
        DRAIN_GOES_ON,
        DRAIN_OVER, /* it has ended: all have left, or it was time */
        DRAIN_ANOTHER /* another run of it is there: this one has ended */,
        DRAIN_DIED /* has not been heard of for 5 seconds, and was not empty */
};

/* `nodes` is the answer of GET /v1/nodes, `started` when the run began that was told to leave (as
 * it was written there; NULL: any). *ret_left: devices, as far as it said. */
enum drain_stand drain_view_judge(const json_t *nodes, const char *name, const char *started,
                                  int64_t *ret_left);
/* What the answer to the order says will happen: one sentence, and the warning if there is one. */
void drain_view_promise(const struct cli *cli, const json_t *answer, struct buf *out);
/* "node-1  [#######.......]  5,400 of 18,500 left", no wider than `columns` if there is room for
 * it. */
void drain_view_bar(const char *name, int64_t left, int64_t of, unsigned columns, struct buf *out);
