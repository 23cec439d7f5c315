/* tests/sim/sim_redis_faults.c -- how the server begins, and what may befall it and its data. */
#include "tests/sim/invariants.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/sim_redis.h"

#define SYNC_EVERY_MS 1000 /* memory mode: appendfsync everysec */

static uint64_t hash_records(const struct model *model)
{
        const struct model_op *ops[EVENTS_AT_ALL];
        size_t n = model_state(model, EVENTS_AT_ALL, ops);
        uint64_t hash = 0;

        for (size_t i = 0; i < n; i++)
                hash ^= history_hash(&ops[i]->parsed->state);
        return hash;
}

static void on_sync(struct world *world, void *owner, uint64_t argument, void *load)
{
        (void)owner, (void)argument, (void)load;
        if (world->server.is_up)
                world->server.synced = model_journal(world->server.model);
        world_in(world, SYNC_EVERY_MS, on_sync, NULL, 0);
}

void sim_redis_start(struct world *world)
{
        world->server = (struct server){ .model = model_create(),
                                         .is_up = true,
                                         .fsync = world->server.fsync,
                                         .breaks_links = world_chance(world, 500) };
        if (!world->server.fsync)
                on_sync(world, NULL, 0, NULL);
}

void sim_redis_fini(struct world *world)
{
        model_destroy(world->server.model);
}

/* --- data ----------------------------------------------------------------------------------- */

/* Which entries are on disk, and which were deleted, going by the journal as it is now. */
static void note_journal(struct world *world)
{
        struct model *model = world->server.model;
        size_t last_wipe = 0, lines = model_journal(model);

        for (size_t i = 0; i < lines; i++) {
                if (model_line(model, i)->kind == MODEL_WIPE)
                        last_wipe = i;
        }
        for (size_t i = 0; i < lines; i++) {
                struct past *past = &world->history.pasts[model_line(model, i)->past];

                if (model_line(model, i)->kind != MODEL_APPEND)
                        continue;
                past->wiped = i < last_wipe;
                past->safe = true;
        }
        world->server.state = hash_records(model);
}

static void lose(struct world *world, size_t lines_left, bool rolled_back)
{
        struct model *model = world->server.model;

        for (size_t i = lines_left; i < model_journal(model); i++) {
                const struct model_op *op = model_line(model, i);
                struct past *past = &world->history.pasts[op->past];

                if (op->opened.epoch != 0)
                        history_find(&world->history, &op->opened)->lost = true;
                if (op->kind != MODEL_APPEND)
                        continue;
                past->lost = true;
                invariants_lost(world, past, rolled_back);
                world_tell(world, WHO_REDIS, 0, "lost %u.%t", op->token.seq, op->token.tag);
        }
        model_cut(model, lines_left);
        note_journal(world);
}

void sim_redis_wipe(struct world *world, bool only_meta)
{
        world_tell(world, WHO_REDIS, 0, "deleted: %s", trace_text(only_meta ? "meta" : "all"));
        if (only_meta)
                model_lose_meta(world->server.model);
        else
                model_wipe(world->server.model);
        world->server.synced = model_journal(world->server.model);
        note_journal(world);
}

void sim_redis_trim(struct world *world)
{
        struct token head = model_head(world->server.model);
        seqno below = world_random(world, 1, head.seq + 1);

        if (world_chance(world, 500) && head.seq > 3)
                below = head.seq - world_random(world, 0, 3);
        world_tell(world, WHO_REDIS, 0, "trimmed below %u", below);
        model_trim(world->server.model, below);
        world->server.synced = model_journal(world->server.model);
}

/* --- the process ---------------------------------------------------------------------------- */

static void come_back(struct world *world, void *owner, uint64_t life, void *load)
{
        (void)owner, (void)load;
        if (world->server.life != life || world->server.is_up)
                return;
        world->server.is_up = true;
        world_tell(world, WHO_REDIS, 0, "is back, log at %u", model_head(world->server.model).seq);
}

void sim_redis_crash(struct world *world, size_t lines_left)
{
        struct server *server = &world->server;

        world_tell(world, WHO_REDIS, 0, "crashes");
        server->is_up = false;
        server->life++;
        server->still_until_ms = 0;
        lose(world, lines_left, lines_left < server->synced);
        server->synced = lines_left;
        for (unsigned i = 0; i < world->n_nodes; i++) {
                if (world->nodes[i]->is_alive) {
                        sim_redis_cut(world, world->nodes[i], LINK_CALLS);
                        sim_redis_cut(world, world->nodes[i], LINK_MESSAGES);
                }
        }
        world_in(world, world_random(world, 50, 6000), come_back, NULL, server->life);
}

void sim_redis_pause(struct world *world, uint64_t ms)
{
        uint64_t until_ms = world->now_ms + ms;

        world_tell(world, WHO_REDIS, 0, "stands still for %u ms", ms);
        if (until_ms > world->server.still_until_ms)
                world->server.still_until_ms = until_ms;
}

void sim_redis_heal(struct world *world)
{
        come_back(world, NULL, world->server.life, NULL);
}
