/* producer/view.c -- one function per thing; every time goes through view_time, so none can come
 * out in another form. */
#include "producer/view.h"

#include "base/clock.h"

static json_t *view_time(int64_t ms)
{
        char text[CLOCK_RFC3339_SIZE];

        clock_format_rfc3339(ms, text);
        return json_string(text);
}

static json_t *view_time_or_null(int64_t ms)
{
        return ms != 0 ? view_time(ms) : json_null();
}

/* Takes `item`; `array` becomes NULL, and is freed, if there was no memory for it. */
static json_t *appended(json_t *array, json_t *item)
{
        if (array != NULL && json_array_append_new(array, item) == 0)
                return array;
        if (array == NULL)
                json_decref(item);
        json_decref(array);
        return NULL;
}

json_t *view_event(const struct event *event)
{
        const struct event_state *state = &event->state;
        json_t *stages = json_array();

        for (unsigned i = 0; i < event->n_stages; i++)
                stages = appended(stages, json_string(event->stages[i]));
        return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:I, s:o, s:b}", "id", state->event,
                         "title", event->title, "stage", state->stage, "phase",
                         event_phase_name[event->phase], "at", view_time_or_null(state->at),
                         "starts_at", view_time(state->starts_at), "version",
                         (json_int_t)state->version, "bundle", (json_int_t)state->bundle, "stages",
                         stages, "auto_start", (int)event->auto_start);
}

json_t *view_events(const struct event *events, size_t n)
{
        json_t *array = json_array();

        for (size_t i = 0; i < n; i++)
                array = appended(array, view_event(&events[i]));
        return array;
}

json_t *view_change(const struct token *token, const char *durability, const struct event *event)
{
        char epoch[17], text[TOKEN_TEXT_MAX + 1];

        token_hex(token->epoch, epoch);
        token_format(token, text);
        return json_pack("{s:s, s:I, s:s, s:s?, s:o}", "epoch", epoch, "seq",
                         (json_int_t)token->seq, "token", text, "durability", durability, "event",
                         view_event(event));
}

json_t *view_dry_run(enum signal_kind told, const struct event *event, struct reach reach)
{
        return json_pack("{s:b, s:s, s:I, s:i, s:I, s:b, s:o}", "dry_run", 1, "would",
                         signal_kind_name[told], "devices", (json_int_t)reach.devices, "nodes",
                         (int)reach.nodes, "estimated_ms", (json_int_t)reach.estimated_ms,
                         "approximate", (int)reach.approximate, "event", view_event(event));
}

json_t *view_signal(const struct signal *signal)
{
        const struct event_state *state = &signal->state;
        char text[TOKEN_TEXT_MAX + 1];
        json_t *made;

        token_format(&signal->token, text);
        made = json_pack("{s:I, s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:I, s:o}", "seq",
                         (json_int_t)signal->token.seq, "token", text, "event", state->event,
                         "kind", signal_kind_name[signal->kind], "stage", state->stage, "at",
                         view_time_or_null(state->at), "starts_at", view_time(state->starts_at),
                         "version", (json_int_t)state->version, "bundle", (json_int_t)state->bundle,
                         "sent", view_time(signal->sent));
        if (made != NULL && signal->window_ms != 0 &&
            json_object_set_new(made, "window_ms", json_integer(signal->window_ms)) != 0) {
                json_decref(made);
                return NULL;
        }
        return made;
}

json_t *view_signals(struct entry *const *entries, size_t n)
{
        json_t *array = json_array();

        for (size_t i = 0; i < n; i++)
                array = appended(array, view_signal(&entries[i]->signal));
        return array;
}

/* --- delivery report ------------------------------------------------------------------------- */

static json_t *view_percentile(const struct latency *latency, unsigned percent)
{
        return latency->n > 0 ? json_integer(latency_percentile(latency, percent)) : json_null();
}

static json_t *view_latency(const struct latency *latency)
{
        return json_pack("{s:I, s:o, s:o, s:o, s:o}", "devices", (json_int_t)latency->n, "p50",
                         view_percentile(latency, 50), "p90", view_percentile(latency, 90), "p99",
                         view_percentile(latency, 99), "max", view_percentile(latency, 100));
}

static json_t *view_part(const struct report_part *part)
{
        return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "connected",
                         (json_int_t)part->connected, "written", (json_int_t)part->written,
                         "silent", (json_int_t)part->silent, "acked", (json_int_t)part->acked,
                         "said", (json_int_t)part->said, "told", view_latency(&part->told), "acted",
                         view_latency(&part->acted));
}

/* `into` with the members of `more`, which is taken; NULL, and both freed, without memory. */
static json_t *joined(json_t *into, json_t *more)
{
        if (into == NULL || more == NULL || json_object_update(into, more) != 0) {
                json_decref(into);
                into = NULL;
        }
        json_decref(more);
        return into;
}

static json_t *view_report_node(const struct report_node *node)
{
        json_t *made = json_pack("{s:s, s:o, s:o, s:b, s:b}", "name", node->name, "started",
                                 view_time_or_null(node->started), "seen", view_time(node->seen),
                                 "gone", (int)node->gone, "reported", (int)node->has_part);

        return joined(made, view_part(&node->part));
}

static json_t *view_report(const struct report *report)
{
        const struct latency *told = &report->sum.told;
        json_t *nodes = json_array(), *made;

        for (size_t i = 0; i < report->n; i++)
                nodes = appended(nodes, view_report_node(&report->nodes[i]));
        made = json_pack("{s:b, s:b, s:I, s:o, s:o, s:o, s:o, s:o}", "complete",
                         (int)report->complete, "partial", (int)report->partial, "unreadable",
                         (json_int_t)report->unreadable, "p50_ms", view_percentile(told, 50),
                         "p90_ms", view_percentile(told, 90), "p99_ms", view_percentile(told, 99),
                         "max_ms", view_percentile(told, 100), "nodes", nodes);
        return joined(made, view_part(&report->sum));
}

json_t *view_signal_report(const struct signal *signal, const struct report *report)
{
        return joined(view_signal(signal), json_pack("{s:o}", "report", view_report(report)));
}

json_t *view_row(const struct bundle_row *row)
{
        return json_pack("{s:s, s:s, s:I, s:s, s:s*}", "cohort", row->cohort, "sha256", row->sha256,
                         "size", (json_int_t)row->size, "content_type", row->type, "position",
                         row->position[0] != '\0' ? row->position : NULL);
}

json_t *view_rows(const struct bundle_index *index)
{
        json_t *rows = json_array();

        for (uint32_t i = 0; index != NULL && i < index->n; i++)
                rows = appended(rows, view_row(&index->rows[i]));
        return rows;
}

static json_t *view_node(const struct presence *node)
{
        return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:b}", "name",
                         node->name, "state", presence_state(node), "listen", node->listen,
                         "version", node->version, "devices", (json_int_t)node->devices, "room",
                         (json_int_t)node->room, "seq", (json_int_t)node->seq, "started",
                         view_time_or_null(node->started), "seen", view_time(node->seen), "leaves",
                         view_time_or_null(node->leaves), "gone", (int)node->gone);
}

json_t *view_nodes(const struct presence *nodes, size_t n)
{
        json_t *array = json_array();

        for (size_t i = 0; i < n; i++)
                array = appended(array, view_node(&nodes[i]));
        return array;
}

static json_t *view_audit_entry(const struct audit_entry *entry)
{
        json_t *made = json_pack("{s:s, s:o, s:s, s:s, s:s, s:s, s:s}", "id", entry->id, "at",
                                 view_time(entry->at), "who", entry->note.who, "kind", entry->kind,
                                 audit_subject_name[entry->subject], entry->name, "from",
                                 entry->note.from, "body", entry->note.body);

        if (!entry->is_change)
                return made;
        return joined(made, json_pack("{s:I, s:s, s:I}", "seq", (json_int_t)entry->seq, "token",
                                      entry->token, "version", (json_int_t)entry->version));
}

json_t *view_audit(const struct audit_entry *entries, size_t n)
{
        json_t *array = json_array();

        for (size_t i = 0; i < n; i++)
                array = appended(array, view_audit_entry(&entries[i]));
        return array;
}

json_t *view_commands(unsigned legal)
{
        json_t *names = json_array();

        for (unsigned kind = 0; kind < COMMANDS; kind++) {
                if ((legal & (1u << kind)) != 0)
                        names = appended(names, json_string(command_kind_name[kind]));
        }
        return names;
}
