/* device/c/device_agenda.c -- see device_agenda.h. */
#include "device/c/device_agenda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- rows ------------------------------------------------------------------------------------ */

static struct device_row *find(const struct device_agenda *agenda, const char *event)
{
        for (size_t i = 0; i < agenda->n; i++) {
                if (strcmp(agenda->rows[i].state.event, event) == 0)
                        return &agenda->rows[i];
        }
        return NULL;
}

static struct device_row *find_or_add(struct device_agenda *agenda, const char *event)
{
        struct device_row *row = find(agenda, event);

        if (row != NULL)
                return row;
        if (agenda->n == agenda->size) {
                size_t size = agenda->size != 0 ? 2 * agenda->size : 8;
                struct device_row *rows = realloc(agenda->rows, size * sizeof(*rows));

                if (rows == NULL)
                        return NULL;
                agenda->rows = rows;
                agenda->size = size;
        }
        row = &agenda->rows[agenda->n++];
        *row = (struct device_row){ .due_ms = DEVICE_CORE_NEVER };
        snprintf(row->state.event, sizeof(row->state.event), "%s", event);
        return row;
}

static bool is_over(const struct event_state *state)
{
        return strcmp(state->stage, "ended") == 0 || strcmp(state->stage, "cancelled") == 0;
}

static void plan_fetch(struct device_agenda *agenda, struct device_row *row, uint64_t span_ms,
                       struct device_now now)
{
        if (!agenda->fetches || row->state.bundle == 0 || row->held == row->state.bundle ||
            is_over(&row->state)) {
                row->due_ms = DEVICE_CORE_NEVER;
                return;
        }
        if (row->due_ms == DEVICE_CORE_NEVER)
                row->due_ms = now.mono_ms + rng_below(&agenda->rng, span_ms + 1);
}

/* Not again what has been acted on: a bundle that changed is no reason to switch screens. */
static void plan_act(const struct device_agenda *agenda, struct device_row *row)
{
        row->acts = agenda->acts && !(row->has_shown && row->shown_at == row->state.at &&
                                      strcmp(row->shown, row->state.stage) == 0);
}

/* --- what the node says ----------------------------------------------------------------------- */

void device_agenda_hello(struct device_agenda *agenda, const struct hello *hello)
{
        agenda->prefetch_ms =
            hello->has_prefetch_ms ? hello->prefetch_ms : DEVICE_AGENDA_PREFETCH_MS;
}

enum err device_agenda_signal(struct device_agenda *agenda, const struct signal *signal,
                              struct device_now now)
{
        struct device_row *row = find_or_add(agenda, signal->state.event);
        uint64_t span_ms =
            signal->window_ms > 0 ? (uint64_t)signal->window_ms : DEVICE_AGENDA_WINDOW_MS;

        if (row == NULL)
                return ERR_NOMEM;
        if (signal->state.version < row->state.version) /* PROTOCOL.md section 5, item 8 */
                return OK;
        agenda->epoch = signal->token.epoch;
        row->state = signal->state;
        row->seq = signal->token.seq;
        plan_act(agenda, row);
        plan_fetch(agenda, row, span_ms, now);
        return OK;
}

static enum err take_state(struct device_agenda *agenda, const struct event_state *state,
                           struct device_now now)
{
        struct device_row *row = find_or_add(agenda, state->event);

        if (row == NULL)
                return ERR_NOMEM;
        row->state = *state;
        row->seq = 0;
        plan_act(agenda, row);
        row->stays = true;
        plan_fetch(agenda, row, agenda->prefetch_ms, now);
        return OK;
}

enum err device_agenda_reset(struct device_agenda *agenda, const struct reset *reset,
                             struct device_now now)
{
        bool other_epoch = reset->token.epoch != agenda->epoch;
        enum err err = OK;
        size_t kept = 0;

        agenda->epoch = reset->token.epoch;
        for (size_t i = 0; i < agenda->n; i++) {
                agenda->rows[i].stays = false;
                if (other_epoch) /* versions begin anew: its hash alone tells what the app has */
                        agenda->rows[i].held = 0;
        }
        for (size_t i = 0; i < reset->n; i++) {
                if (take_state(agenda, &reset->events[i], now) != OK)
                        err = ERR_NOMEM;
        }
        for (size_t i = 0; i < agenda->n; i++) {
                if (agenda->rows[i].stays)
                        agenda->rows[kept++] = agenda->rows[i];
        }
        agenda->n = kept;
        return err;
}

/* --- what is due ------------------------------------------------------------------------------ */

/* The earliest first, and of one moment the one that was said first. */
bool device_agenda_act(struct device_agenda *agenda, int64_t node_ms, struct device_row *ret_row)
{
        struct device_row *best = NULL;

        for (size_t i = 0; i < agenda->n; i++) {
                struct device_row *row = &agenda->rows[i];

                if (!row->acts || row->state.at > node_ms)
                        continue;
                if (best == NULL || row->state.at < best->state.at ||
                    (row->state.at == best->state.at && row->seq < best->seq))
                        best = row;
        }
        if (best == NULL)
                return false;
        best->acts = false;
        best->has_shown = true;
        best->shown_at = best->state.at;
        memcpy(best->shown, best->state.stage, sizeof(best->shown));
        *ret_row = *best;
        return true;
}

bool device_agenda_fetch(struct device_agenda *agenda, struct device_now now,
                         const struct device_row **ret_row)
{
        for (size_t i = 0; i < agenda->n; i++) {
                struct device_row *row = &agenda->rows[i];

                if (row->is_asked || now.mono_ms < row->due_ms)
                        continue;
                row->due_ms = DEVICE_CORE_NEVER;
                row->is_asked = true;
                *ret_row = row;
                return true;
        }
        return false;
}

static uint64_t retry_ms(struct device_agenda *agenda, struct device_row *row, uint64_t asked_ms)
{
        uint64_t step = DEVICE_AGENDA_RETRY_MIN_MS;

        for (unsigned i = 0; i < row->tries && step < DEVICE_AGENDA_RETRY_MAX_MS; i++)
                step *= 2;
        if (step > DEVICE_AGENDA_RETRY_MAX_MS)
                step = DEVICE_AGENDA_RETRY_MAX_MS;
        else
                row->tries++;
        if (asked_ms > DEVICE_CORE_RETRY_AFTER_MAX_MS)
                asked_ms = DEVICE_CORE_RETRY_AFTER_MAX_MS;
        /* Retry-After is in whole seconds: a part of one on top, or the herd arrives in ticks. */
        return asked_ms > 0 ? asked_ms + rng_below(&agenda->rng, 1000)
                            : rng_below(&agenda->rng, step + 1);
}

bool device_agenda_fetched(struct device_agenda *agenda, const char *event,
                           enum device_fetch_end end, uint64_t version, const char *hash,
                           uint64_t asked_ms, struct device_now now)
{
        struct device_row *row = find(agenda, event);

        if (row == NULL)
                return false;
        row->is_asked = false;
        if (end == DEVICE_FETCH_OVER)
                return true;
        if (end == DEVICE_FETCH_GOOD) {
                row->held = version;
                snprintf(row->hash, sizeof(row->hash), "%s", hash);
                if (version >= row->state.bundle) { /* else an older one, while the store is away */
                        row->tries = 0;
                        row->due_ms = DEVICE_CORE_NEVER;
                        return true;
                }
        }
        if (row->due_ms == DEVICE_CORE_NEVER && !is_over(&row->state))
                row->due_ms = now.mono_ms + retry_ms(agenda, row, asked_ms);
        return true;
}

void device_agenda_found(struct device_agenda *agenda, const char *event, const char *hash)
{
        struct device_row *row = find(agenda, event);

        if (row != NULL)
                snprintf(row->hash, sizeof(row->hash), "%s", hash);
}

bool device_agenda_wants(const struct device_agenda *agenda, const char *event, uint64_t version)
{
        const struct device_row *row = find(agenda, event);

        return row != NULL && row->due_ms != DEVICE_CORE_NEVER && row->state.bundle == version &&
               row->held != version;
}

uint64_t device_agenda_wait_ms(const struct device_agenda *agenda, struct device_now now,
                               int64_t node_ms, bool may_fetch)
{
        uint64_t wait_ms = DEVICE_CORE_NEVER;

        for (size_t i = 0; i < agenda->n; i++) {
                const struct device_row *row = &agenda->rows[i];
                uint64_t ms = DEVICE_CORE_NEVER;

                if (row->acts)
                        ms = row->state.at > node_ms ? (uint64_t)(row->state.at - node_ms) : 0;
                wait_ms = ms < wait_ms ? ms : wait_ms;
                if (!may_fetch || row->is_asked || row->due_ms == DEVICE_CORE_NEVER)
                        continue;
                ms = row->due_ms > now.mono_ms ? row->due_ms - now.mono_ms : 0;
                wait_ms = ms < wait_ms ? ms : wait_ms;
        }
        return wait_ms;
}

/* --- life ------------------------------------------------------------------------------------ */

void device_agenda_init(struct device_agenda *agenda, bool acts, bool fetches, uint64_t seed)
{
        *agenda = (struct device_agenda){
                .acts = acts,
                .fetches = fetches,
                .prefetch_ms = DEVICE_AGENDA_PREFETCH_MS,
        };
        rng_seed(&agenda->rng, seed);
}

void device_agenda_fini(struct device_agenda *agenda)
{
        free(agenda->rows);
        *agenda = (struct device_agenda){ .n = 0 };
}
