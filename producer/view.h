/* producer/view.h -- events, signals, bundles and nodes as producers see them: JSON with times in
 * RFC 3339. NULL = no memory. Pure. */
#pragma once

#include <jansson.h>

#include "fanout/audit.h"
#include "fanout/entry.h"
#include "fanout/event.h"
#include "fanout/presence.h"
#include "fanout/report.h"
#include "prefetch/bundle.h"
#include "producer/reach.h"
#include "proto/message.h"
#include "proto/token.h"

/* {id, title, stage, phase, at, starts_at, version, bundle, stages, auto_start}; at is null when 0.
 */
json_t *view_event(const struct event *event);
/* {epoch, seq, token, durability, event}; `durability` as durability_format names it, NULL = unknown. */
json_t *view_change(const struct token *token, const char *durability, const struct event *event);
/* {dry_run: true, would, devices, nodes, estimated_ms, approximate, event} */
json_t *view_dry_run(enum signal_kind told, const struct event *event, struct reach reach);
json_t *view_events(const struct event *events, size_t n);
json_t *view_signal(const struct signal *signal);
json_t *view_signals(struct entry *const *entries, size_t n);
/* The signal, and its delivery report as the member `report`. */
json_t *view_signal_report(const struct signal *signal, const struct report *report);
json_t *view_row(const struct bundle_row *row);      /* {cohort, sha256, size, content_type} */
json_t *view_rows(const struct bundle_index *index); /* NULL index = [] */
json_t *view_nodes(const struct presence *nodes, size_t n);
json_t *view_audit(const struct audit_entry *entries, size_t n);
json_t *view_commands(unsigned legal); /* names of a set of 1u << command_kind */
