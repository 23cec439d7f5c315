/* producer/cli/show.c -- see show.h. */
#include "producer/cli/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "producer/cli/table.h"
#include "producer/cli/when.h"

void show_text(const char *text, struct buf *out)
{
        for (const char *at = text != NULL ? text : "-"; *at != '\0'; at++)
                buf_char(out, (unsigned char)*at < 0x20 || *at == 0x7f ? '?' : *at);
}

void show_member(const json_t *object, const char *name, struct buf *out)
{
        const json_t *value = json_object_get(object, name);

        if (json_is_integer(value))
                buf_i64(out, json_integer_value(value));
        else
                show_text(json_string_value(value), out);
}

void show_time(const struct cli *cli, const json_t *object, const char *name, struct buf *out)
{
        const char *text = json_string_value(json_object_get(object, name));
        int64_t ms;

        if (text != NULL && clock_parse_rfc3339(text, &ms) == 0)
                when_show(ms, cli->now_ms, out);
        else
                show_text(text, out);
}

static const char *phase_colour(const char *phase)
{
        if (phase == NULL)
                return "";
        if (strcmp(phase, "live") == 0)
                return "\033[1;32m";
        return strcmp(phase, "cancelled") == 0 ? "\033[31m" : "\033[1m";
}

/* "live", or "live, stage halftime" where the stage has a name of its own. */
static void show_phase(const struct cli *cli, const json_t *event, struct buf *out)
{
        const char *phase = json_string_value(json_object_get(event, "phase"));
        const char *stage = json_string_value(json_object_get(event, "stage"));

        if (cli->colour)
                buf_str(out, phase_colour(phase));
        show_text(phase, out);
        if (cli->colour)
                buf_str(out, "\033[0m");
        if (stage != NULL && (phase == NULL || strcmp(stage, phase) != 0)) {
                buf_str(out, ", stage ");
                show_text(stage, out);
        }
}

/* --- cells ---------------------------------------------------------------------------------- */

static void table_member(struct table *table, const json_t *object, const char *name)
{
        size_t from = table->cells.len;

        show_member(object, name, &table->cells);
        table_end_cell(table, from);
}

static void table_time(struct table *table, const struct cli *cli, const json_t *object,
                       const char *name)
{
        size_t from = table->cells.len;

        show_time(cli, object, name, &table->cells);
        table_end_cell(table, from);
}

/* --- events --------------------------------------------------------------------------------- */

static void show_row_head(const char *name, struct buf *out)
{
        buf_printf(out, "  %-9s", name);
}

void show_event_line(const struct cli *cli, const json_t *event, struct buf *out)
{
        show_member(event, "id", out);
        buf_str(out, ": ");
        show_phase(cli, event, out);
        buf_str(out, ", version ");
        show_member(event, "version", out);
        buf_char(out, '\n');
}

/* Only what lies ahead is worth a line: a stage that devices still hold back. A second's grace,
 * since `now` is when the command began. */
static void show_acts(const struct cli *cli, const json_t *event, struct buf *out)
{
        const char *at = json_string_value(json_object_get(event, "at"));
        int64_t when;

        if (at == NULL || clock_parse_rfc3339(at, &when) != 0 || when < cli->now_ms + 1000)
                return;
        show_row_head("acts", out);
        show_time(cli, event, "at", out);
        buf_char(out, '\n');
}

void show_event(const struct cli *cli, const json_t *event, struct buf *out)
{
        const json_t *stages = json_object_get(event, "stages");

        show_member(event, "id", out);
        buf_str(out, "  ");
        show_member(event, "title", out);
        buf_char(out, '\n');
        show_row_head("phase", out);
        show_phase(cli, event, out);
        buf_char(out, '\n');
        show_row_head("starts", out);
        show_time(cli, event, "starts_at", out);
        if (json_is_true(json_object_get(event, "auto_start")))
                buf_str(out, ", by itself");
        buf_char(out, '\n');
        show_acts(cli, event, out);
        show_row_head("version", out);
        show_member(event, "version", out);
        buf_char(out, '\n');
        show_row_head("bundle", out);
        if (json_integer_value(json_object_get(event, "bundle")) == 0)
                buf_str(out, "none yet");
        else
                show_member(event, "bundle", out);
        buf_char(out, '\n');
        if (json_array_size(stages) == 0)
                return;
        show_row_head("stages", out);
        for (size_t i = 0; i < json_array_size(stages); i++) {
                buf_str(out, i > 0 ? ", " : "");
                show_text(json_string_value(json_array_get(stages, i)), out);
        }
        buf_char(out, '\n');
}

void show_events(const struct cli *cli, const json_t *events, struct buf *out)
{
        static const char *const heads[] = { "EVENT",   "PHASE",  "STAGE", "STARTS",
                                             "VERSION", "BUNDLE", "TITLE" };
        struct table table;

        table_init(&table, heads, countof(heads));
        for (size_t i = 0; i < json_array_size(events); i++) {
                const json_t *event = json_array_get(events, i);

                table_member(&table, event, "id");
                table_member(&table, event, "phase");
                table_member(&table, event, "stage");
                table_time(&table, cli, event, "starts_at");
                table_member(&table, event, "version");
                table_member(&table, event, "bundle");
                table_member(&table, event, "title");
        }
        table_show(&table, cli, "No events. Make one: kickoff event create ID --title T --in 10m",
                   out);
}

/* "12345 devices on 3 nodes" */
static void show_reach(const json_t *answer, struct buf *out)
{
        json_int_t devices = json_integer_value(json_object_get(answer, "devices"));
        json_int_t nodes = json_integer_value(json_object_get(answer, "nodes"));

        if (json_is_true(json_object_get(answer, "approximate")))
                buf_str(out, "at most ");
        buf_i64(out, devices);
        buf_printf(out, " device%s on %" JSON_INTEGER_FORMAT " node%s", devices == 1 ? "" : "s",
                   nodes, nodes == 1 ? "" : "s");
}

/* One sentence, and what the event would be. */
static void show_dry_run(const struct cli *cli, const json_t *answer, struct buf *out)
{
        json_int_t ms = json_integer_value(json_object_get(answer, "estimated_ms"));

        buf_str(out, "Nothing was done. In earnest, `");
        show_member(answer, "would", out);
        buf_str(out, "` would be told to ");
        show_reach(answer, out);
        buf_printf(out, ", within about %.1f s.\n  ", (double)ms / 1000);
        show_event_line(cli, json_object_get(answer, "event"), out);
}

void show_change(const struct cli *cli, const json_t *change, struct buf *out)
{
        const json_t *event = json_object_get(change, "event");

        if (json_is_true(json_object_get(change, "dry_run"))) {
                show_dry_run(cli, change, out);
                return;
        }
        show_event_line(cli, event, out);
        show_row_head("starts", out);
        show_time(cli, event, "starts_at", out);
        buf_char(out, '\n');
        show_acts(cli, event, out);
        show_row_head("signal", out);
        show_member(change, "seq", out);
        buf_str(out, ", durability ");
        show_member(change, "durability", out);
        buf_char(out, '\n');
}

/* --- log and nodes -------------------------------------------------------------------------- */

void show_signals(const struct cli *cli, const json_t *signals, struct buf *out)
{
        static const char *const heads[] = { "SEQ",   "SENT", "KIND",    "EVENT",
                                             "STAGE", "ACTS", "VERSION", "BUNDLE" };
        struct table table;

        table_init(&table, heads, countof(heads));
        for (size_t i = 0; i < json_array_size(signals); i++) {
                const json_t *signal = json_array_get(signals, i);

                table_member(&table, signal, "seq");
                table_time(&table, cli, signal, "sent");
                table_member(&table, signal, "kind");
                table_member(&table, signal, "event");
                table_member(&table, signal, "stage");
                table_time(&table, cli, signal, "at");
                table_member(&table, signal, "version");
                table_member(&table, signal, "bundle");
        }
        table_show(&table, cli, "No signals.", out);
}

void show_nodes(const struct cli *cli, const json_t *nodes, struct buf *out)
{
        static const char *const heads[] = { "NODE", "STATE", "LISTEN", "DEVICES",
                                             "SEQ",  "SEEN",  "VERSION" };
        struct table table;

        table_init(&table, heads, countof(heads));
        for (size_t i = 0; i < json_array_size(nodes); i++) {
                const json_t *node = json_array_get(nodes, i);
                size_t from;

                table_member(&table, node, "name");
                from = table.cells.len;
                if (json_is_string(json_object_get(node, "state")))
                        show_member(node, "state", &table.cells);
                else /* a node of before */
                        buf_str(&table.cells,
                                json_is_true(json_object_get(node, "gone")) ? "gone" : "up");
                table_end_cell(&table, from);
                table_member(&table, node, "listen");
                table_member(&table, node, "devices");
                table_member(&table, node, "seq");
                table_time(&table, cli, node, "seen");
                table_member(&table, node, "version");
        }
        table_show(&table, cli, "No nodes.", out);
}

/* "20:00:01  ann@studio     start   cup-final  signal 42, from 10.0.0.7  {"lead":"2s"}" */
void show_audit(const struct cli *cli, const json_t *entries, struct buf *out)
{
        static const char *const subjects[] = { "event", "node", "device" };

        for (size_t i = 0; i < json_array_size(entries); i++) {
                const json_t *entry = json_array_get(entries, i);
                const char *who = json_string_value(json_object_get(entry, "who"));
                const char *body = json_string_value(json_object_get(entry, "body"));

                show_time(cli, entry, "at", out);
                buf_str(out, "  ");
                show_text(who != NULL && who[0] != '\0' ? who : "somebody", out);
                buf_str(out, "  ");
                show_member(entry, "kind", out);
                buf_char(out, ' ');
                for (size_t k = 0; k < countof(subjects); k++)
                        if (json_object_get(entry, subjects[k]) != NULL)
                                show_member(entry, subjects[k], out);
                if (json_object_get(entry, "seq") != NULL) {
                        buf_str(out, "  signal ");
                        show_member(entry, "seq", out);
                }
                buf_str(out, "  from ");
                show_member(entry, "from", out);
                if (body != NULL && body[0] != '\0' && strcmp(body, "{}") != 0) {
                        buf_str(out, "  ");
                        show_text(body, out);
                }
                buf_char(out, '\n');
        }
}

const json_t *show_array(const json_t *answer, const char *name)
{
        return json_is_array(answer) ? answer : json_object_get(answer, name);
}
