/* producer/cli/load_plan.c -- compares a directory with what the node holds, by hash and content
 * type. */
#include "producer/cli/load_plan.h"

#include <string.h>

/* The rows by cohort; NULL = no memory, or no rows. Borrows them. */
static json_t *by_cohort(const json_t *rows)
{
        json_t *map = json_is_array(rows) ? json_object() : NULL;

        for (size_t i = 0; map != NULL && i < json_array_size(rows); i++) {
                json_t *row = json_array_get(rows, i);
                const char *cohort = json_string_value(json_object_get(row, "cohort"));

                if (cohort == NULL || json_object_set(map, cohort, row) != 0) {
                        json_decref(map);
                        return NULL;
                }
        }
        return map;
}

static bool is_same(const json_t *row, const struct bundle_file *file)
{
        const char *sha256 = json_string_value(json_object_get(row, "sha256"));
        const char *type = json_string_value(json_object_get(row, "content_type"));

        return sha256 != NULL && type != NULL && strcmp(sha256, file->sha256) == 0 &&
               strcmp(type, file->type) == 0;
}

static enum load_state state_of(const struct bundle_file *file, const json_t *drafts,
                                const json_t *current)
{
        const json_t *draft = json_object_get(drafts, file->cohort);

        if (draft != NULL)
                return is_same(draft, file) ? LOAD_DRAFT : LOAD_SEND;
        return is_same(json_object_get(current, file->cohort), file) ? LOAD_CURRENT : LOAD_SEND;
}

static void count(const struct bundle_file *files, size_t n, const json_t *drafts,
                  const json_t *current, enum load_state *states, struct load_plan *plan)
{
        size_t ours = 0;

        for (size_t i = 0; i < n; i++) {
                states[i] = state_of(&files[i], drafts, current);
                plan->send += states[i] == LOAD_SEND;
                plan->draft += states[i] == LOAD_DRAFT;
                plan->current += states[i] == LOAD_CURRENT;
                plan->bytes += files[i].size;
                if (states[i] == LOAD_SEND)
                        plan->send_bytes += files[i].size;
                ours += json_object_get(drafts, files[i].cohort) != NULL;
        }
        plan->others = json_object_size(drafts) - ours;
        plan->publishes = plan->send + plan->draft > 0;
}

enum err load_plan_make(const struct bundle_file *files, size_t n, const json_t *answer,
                        enum load_state *ret_states, struct load_plan *ret_plan)
{
        const json_t *version = json_object_get(answer, "version");
        json_t *drafts, *current;
        enum err err = ERR_NOMEM;

        if (!json_is_integer(version) || !json_is_array(json_object_get(answer, "drafts")) ||
            !json_is_array(json_object_get(answer, "current")))
                return ERR_INVALID;
        drafts = by_cohort(json_object_get(answer, "drafts"));
        current = by_cohort(json_object_get(answer, "current"));
        if (drafts != NULL && current != NULL) {
                *ret_plan = (struct load_plan){ .version = json_integer_value(version) };
                count(files, n, drafts, current, ret_states, ret_plan);
                err = OK;
        }
        json_decref(drafts);
        json_decref(current);
        return err;
}

static const char *s_of(size_t n)
{
        return n == 1 ? "" : "s";
}

void load_plan_show(const struct load_plan *plan, const char *event, struct buf *out)
{
        size_t n = plan->send + plan->draft + plan->current;

        buf_printf(out, "%s: %zu bundle%s, %zu bytes\n", event, n, s_of(n), plan->bytes);
        buf_printf(out, "  to send    %zu, %zu bytes\n", plan->send, plan->send_bytes);
        if (plan->draft > 0)
                buf_printf(out, "  stored     %zu, not published yet\n", plan->draft);
        if (plan->current > 0)
                buf_printf(out, "  unchanged  %zu: devices have %s\n", plan->current,
                           plan->current == 1 ? "it" : "them");
        if (plan->publishes && plan->others > 0)
                buf_printf(out,
                           "  others     %zu draft%s of cohorts that are not in the directory: "
                           "published along\n",
                           plan->others, s_of(plan->others));
        if (plan->publishes)
                buf_printf(out, "  publish    bundle version %lld, in one change\n",
                           (long long)plan->version + 1);
        else
                buf_printf(out, "  publish    nothing: bundle version %lld stays\n",
                           (long long)plan->version);
}

json_t *load_plan_json(const struct load_plan *plan, const char *event)
{
        return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I}", "event", event, "send",
                         (json_int_t)plan->send, "send_bytes", (json_int_t)plan->send_bytes,
                         "stored", (json_int_t)plan->draft, "unchanged", (json_int_t)plan->current,
                         "bytes", (json_int_t)plan->bytes, "other_drafts", (json_int_t)plan->others,
                         "publishes", (int)plan->publishes, "bundle_version",
                         plan->version + (plan->publishes ? 1 : 0));
}
