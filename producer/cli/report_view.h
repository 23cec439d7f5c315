/* producer/cli/report_view.h -- a signal's delivery report as text: a bar, percentiles and the
 * nodes for people, one line for a log. Reads the JSON of GET /v1/signals/SEQ. Pure. */
#pragma once

#include "producer/cli/cli.h"

struct report_space { /* of the terminal; 0 = as much as it takes */
        unsigned columns, rows;
};

/* Whole screen. */
void report_view(const struct cli *cli, const json_t *answer, struct report_space space,
                 struct buf *out);
/* "acked 20 of 40, written 40, connected 40, told p99 9 ms, acted p99 -, nodes 2", no newline. */
void report_view_line(const json_t *answer, struct buf *out);
/* Full blocks are acked, half-tone ones written, light ones connected; `width` characters. More
 * acked than written or written than connected (devices that moved between nodes) fills the bar, no
 * more. */
void report_view_bar(const struct cli *cli, json_int_t connected, json_int_t written,
                     json_int_t acked, unsigned width, struct buf *out);
/* Does it say anything else than `before`? Times at which nodes were heard of do not count. */
bool report_view_differs(const json_t *answer, const json_t *before);
bool report_view_is_complete(const json_t *answer);
