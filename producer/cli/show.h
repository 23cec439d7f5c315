/* producer/cli/show.h -- the admin API's JSON as text for people: one thing as a few lines, many as
 * a table. Missing members show as "-": the command may be older or newer than the node. Pure. */
#pragma once

#include "producer/cli/cli.h"

/* Text from outside, with control characters replaced: it must not steer the terminal. NULL is "-".
 */
void show_text(const char *text, struct buf *out);
/* A string as it is, a number in decimal, "-" for nothing. */
void show_member(const json_t *object, const char *name, struct buf *out);
/* A member that is RFC 3339, as people like to read it. */
void show_time(const struct cli *cli, const json_t *object, const char *name, struct buf *out);
void show_event(const struct cli *cli, const json_t *event, struct buf *out);      /* a few lines */
void show_event_line(const struct cli *cli, const json_t *event, struct buf *out); /* one line */
void show_events(const struct cli *cli, const json_t *events, struct buf *out);
void show_change(const struct cli *cli, const json_t *change, struct buf *out);
void show_signals(const struct cli *cli, const json_t *signals, struct buf *out);
void show_nodes(const struct cli *cli, const json_t *nodes, struct buf *out);
void show_audit(const struct cli *cli, const json_t *entries, struct buf *out); /* a line each */
/* The array itself, or the array that is the member `name` of an object. */
const json_t *show_array(const json_t *answer, const char *name);
