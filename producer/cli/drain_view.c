/* producer/cli/drain_view.c -- see the header. */
#include "producer/cli/drain_view.h"

#include <string.h>

#include "producer/cli/show.h"
#include "producer/cli/when.h"

#define BAR_MAX 40

static const json_t *find(const json_t *nodes, const char *name)
{
        const json_t *all = show_array(nodes, "nodes");

        for (size_t i = 0; i < json_array_size(all); i++) {
                const json_t *node = json_array_get(all, i);
                const char *its = json_string_value(json_object_get(node, "name"));

                if (its != NULL && strcmp(its, name) == 0)
                        return node;
        }
        return NULL;
}

enum drain_stand drain_view_judge(const json_t *nodes, const char *name, const char *started,
                                  int64_t *ret_left)
{
        const json_t *node = find(nodes, name);
        const char *state = json_string_value(json_object_get(node, "state"));
        const char *run = json_string_value(json_object_get(node, "started"));

        if (node == NULL || state == NULL)
                return DRAIN_OVER; /* long gone: nobody remembers it */
        if (started != NULL && run != NULL && strcmp(started, run) != 0)
                return DRAIN_ANOTHER;
        *ret_left = json_integer_value(json_object_get(node, "devices"));
        if (strcmp(state, "ended") == 0)
                return DRAIN_OVER;
        if (strcmp(state, "gone") == 0)
                return *ret_left == 0 ? DRAIN_OVER : DRAIN_DIED;
        return strcmp(state, "draining") == 0 ? DRAIN_GOES_ON : DRAIN_WAITS;
}

void drain_view_promise(const struct cli *cli, const json_t *answer, struct buf *out)
{
        const json_t *warning = json_object_get(answer, "warning");

        show_member(answer, "node", out);
        if (json_is_true(json_object_get(answer, "already"))) {
                buf_str(out, " drains already, ");
                show_member(answer, "devices", out);
                buf_str(out, " devices are left; it has ended by ");
                show_time(cli, answer, "until", out);
                buf_str(out, " at the latest.\n");
                return;
        }
        buf_str(out, " sends ");
        show_member(answer, "devices", out);
        buf_str(out, " devices to ");
        show_member(answer, "others", out);
        buf_str(out, " other nodes, ");
        show_member(answer, "rate", out);
        buf_str(out, " a second, and ends when they are gone, in ");
        when_duration(json_integer_value(json_object_get(answer, "within_ms")), out);
        buf_str(out, " at the latest.\n");
        if (json_is_string(warning)) {
                buf_str(out, "  Mind: ");
                show_text(json_string_value(warning), out);
                buf_char(out, '\n');
        }
}

void drain_view_bar(const char *name, int64_t left, int64_t of, unsigned columns, struct buf *out)
{
        unsigned room = columns > strlen(name) + 50 ? BAR_MAX : 10, full;

        if (of < left)
                of = left;
        full = of > 0 ? (unsigned)((of - left) * room / of) : room;
        show_text(name, out);
        buf_str(out, "  [");
        for (unsigned i = 0; i < room; i++)
                buf_char(out, i < full ? '#' : '.');
        buf_printf(out, "]  %lld of %lld left", (long long)left, (long long)of);
}
