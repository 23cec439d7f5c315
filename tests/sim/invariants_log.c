/* tests/sim/invariants_log.c -- the questions about what is written: commits, losses, renewals. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/invariants.h"
#include "tests/sim/sim_redis.h"

#define KEYS_LOOKED_BACK 400 /* commits; a producer gives up long before */

/* Nobody is told, and nothing is shown, that fewer than N replicas hold, or ever held. */
bool invariants_has_copies(const struct world *world, const struct past *past)
{
        return past->token.seq == 0 ||
               (unsigned)__builtin_popcount(past->ever) >= world->durability.replicas + 1;
}

void invariants_committed(struct world *world, const struct past *past, unsigned server,
                          const struct token *witness)
{
        const struct history *history = &world->history;
        unsigned this = (unsigned)(past - history->pasts);

        if (past->signal.state.version != past->version_before + 1)
                invariants_broken(world, "line 13 one_winner", "version %" PRIu64 " after %" PRIu64,
                                  past->signal.state.version, past->version_before);
        for (unsigned i = this; i > 0 && this - i < KEYS_LOOKED_BACK; i--) {
                const struct past *other = &history->pasts[i - 1];

                if ((other->on & 1u << server) != 0 && other->key[0] != '\0' &&
                    strcmp(other->key, past->key) == 0)
                        invariants_broken(world, "line 3 same_key",
                                          "key %s made %" PRIu64 " and %" PRIu64, past->key,
                                          other->token.seq, past->token.seq);
        }
        if (world->faults.rate[FAULT_REDIS_TRIM] == 0 &&
            !history_is_before(history, witness, &past->token))
                invariants_broken(world, "line 7 new_epoch",
                                  "a node that holds %" PRIu64 " was let append %" PRIu64
                                  " to a log that had lost it",
                                  witness->seq, past->token.seq);
}

void invariants_shown(struct world *world, struct past *past, unsigned server)
{
        past->released_ms[server] = world->now_ms;
        if (past->shown_ms == 0)
                past->shown_ms = world->now_ms;
        if (!invariants_has_copies(world, past))
                invariants_broken(world, "line 2 no_phantoms",
                                  "%" PRIu64 " is released, which fewer than %u replicas hold",
                                  past->token.seq, world->durability.replicas);
}

void invariants_acknowledged(struct world *world, const char *key, const struct token *token,
                             uint64_t version, uint64_t wanted)
{
        struct past *past = history_find(&world->history, token);

        if (past == NULL || strcmp(past->key, key) != 0)
                invariants_broken(world, "line 3 same_key",
                                  "a producer was told %" PRIu64 ", not its own", token->seq);
        if (!past->safe)
                invariants_broken(world, "line 1 durable",
                                  "%" PRIu64 " was acknowledged before its sync", token->seq);
        if (past->shown_ms == 0 || !invariants_has_copies(world, past))
                invariants_broken(world, "line 1 durable",
                                  "%" PRIu64
                                  " was acknowledged, and fewer than %u replicas hold it",
                                  token->seq, world->durability.replicas);
        if (wanted != 0 && version != wanted)
                invariants_broken(world, "line 13 one_winner",
                                  "expected to make version %" PRIu64 ", made %" PRIu64, wanted,
                                  version);
        past->acknowledged = true;
}

void invariants_lost(struct world *world, const struct past *past, bool rolled_back)
{
        if (world->durability.mode != DURABILITY_MEMORY && !rolled_back && past->acknowledged)
                invariants_broken(world, "line 1 durable",
                                  "%" PRIu64 " was acknowledged, and a crash lost it",
                                  past->token.seq);
}

bool invariants_is_kept(const struct model *model, const struct past *past)
{
        const struct model_data *data = model_data(model);
        size_t i = model_find_event(data, past->signal.state.event);
        unsigned now, then = token_generation(past->token.epoch);

        if (i == data->n_events)
                return false;
        now = token_generation(data->events[i]->epoch);
        return now > then ||
               (now == then && data->events[i]->version >= past->signal.state.version);
}

void invariants_renewed(struct world *world, const struct server *server)
{
        const struct model_data *data = model_data(server->model);

        if (!faults_may_lose(world) && world->counted_renewals > 1)
                invariants_broken(world, "line 5 at_least_once",
                                  "a new epoch begins, and nothing was lost");

        for (unsigned i = 0; i < world->history.n; i++) {
                const struct past *past = &world->history.pasts[i];

                if ((past->on & 1u << server->index) != 0 && past->acknowledged &&
                    !invariants_is_kept(server->model, past))
                        invariants_broken(world, "line 1 durable",
                                          "a new epoch begins without %" PRIu64
                                          ", which was acknowledged and was not lost",
                                          past->token.seq);
        }
        for (size_t i = 0; i < data->n_events; i++) {
                const struct model_record *record = data->events[i];

                if (record->past > 0 &&
                    !invariants_has_copies(world, &world->history.pasts[record->past - 1]))
                        invariants_broken(world, "line 2 no_phantoms",
                                          "a new epoch shows version %" PRIu64
                                          ", which fewer than %u replicas hold",
                                          record->version, world->durability.replicas);
        }
}
