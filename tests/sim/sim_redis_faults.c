/* tests/sim/sim_redis_faults.c -- how the servers begin, and what may befall them and their data.
 */
#include "tests/sim/invariants.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/sim_redis.h"

#define SYNC_EVERY_MS 1000 /* memory mode: appendfsync everysec */

struct server *sim_redis_primary(struct world *world)
{
        return &world->servers[world->primary];
}

static void on_sync(struct world *world, void *owner, uint64_t argument, void *load)
{
        (void)owner, (void)argument, (void)load;
        for (unsigned i = 0; i < world->n_servers; i++) {
                struct server *server = &world->servers[i];

                if (server->is_up)
                        server->synced = model_journal(server->model);
        }
        world_in(world, SYNC_EVERY_MS, on_sync, NULL, 0);
}

void sim_redis_start(struct world *world)
{
        for (unsigned i = 0; i < world->n_servers; i++)
                world->servers[i] = (struct server){
                        .index = i, .model = model_create(), .is_up = true, .is_primary = i == 0
                };
        world->breaks_links = world_chance(world, 500);
        if (world->durability.mode == DURABILITY_MEMORY)
                on_sync(world, NULL, 0, NULL);
}

void sim_redis_fini(struct world *world)
{
        for (unsigned i = 0; i < world->n_servers; i++) {
                sim_replication_forget_waits(&world->servers[i]);
                model_destroy(world->servers[i].model);
        }
}

/* --- data ----------------------------------------------------------------------------------- */

static void changed(struct world *world, struct server *server)
{
        if (world->now_ms >=
            server->still_until_ms) /* else it goes to the disk with what waits there */
                server->synced = model_journal(server->model);
        sim_book_again(world, server);
        sim_replication_wrote(world, server);
}

void sim_redis_wipe(struct world *world, struct server *server, bool only_meta)
{
        world_tell(world, WHO_REDIS, server->index, "deleted: %s",
                   trace_text(only_meta ? "meta" : "all"));
        if (only_meta) {
                model_lose_meta(server->model);
        } else {
                sim_book_will_be_wiped(world, server);
                model_wipe(server->model);
        }
        changed(world, server);
}

void sim_redis_trim(struct world *world, struct server *server)
{
        struct token head = model_head(server->model, &(struct token){ .epoch = 0 }).token;
        seqno below = world_random(world, 1, head.seq + 1);

        if (world_chance(world, 500) && head.seq > 3)
                below = head.seq - world_random(world, 0, 3);
        world_tell(world, WHO_REDIS, server->index, "trimmed below %u", below);
        model_trim(server->model, below);
        changed(world, server);
}

/* --- the process ---------------------------------------------------------------------------- */

static void on_told(struct world *world, void *owner, uint64_t argument, void *load)
{
        (void)owner, (void)argument, (void)load;
        sim_replication_heal(world);
}

static void come_back(struct world *world, void *owner, uint64_t life, void *load)
{
        struct server *server = owner;

        (void)load;
        if (server->life != life || server->is_up)
                return;
        server->is_up = true;
        world_tell(world, WHO_REDIS, server->index, "is back, log at %u",
                   model_data(server->model)->meta.seq);
        if (!server->is_primary) {
                sim_replication_attach(world, server, &world->servers[server->master]);
                return;
        }
        sim_replication_attach_all(world, server);
        /* It may have been the primary, and not know yet that it is not. */
        if (server->index != world->primary)
                world_in(world, world_chance(world, 500) ? 0 : world_random(world, 1, 3000),
                         on_told, NULL, 0);
}

void sim_redis_crash(struct world *world, struct server *server, size_t lines_left,
                     bool rolled_back)
{
        world_tell(world, WHO_REDIS, server->index, "crashes");
        server->is_up = false;
        server->life++;
        server->still_until_ms = 0;
        sim_replication_forget_waits(server);
        sim_book_lost(world, server, lines_left, rolled_back);
        model_cut(server->model, lines_left);
        server->synced = lines_left;
        sim_book_again(world, server);
        sim_book_is_on_disk(world, server);
        sim_redis_cut_all(world, server->index);
        world_in(world, world_random(world, 50, 6000), come_back, server, server->life);
}

void sim_redis_pause(struct world *world, struct server *server, uint64_t ms)
{
        uint64_t until_ms = world->now_ms + ms;

        world_tell(world, WHO_REDIS, server->index, "stands still for %u ms", ms);
        if (until_ms > server->still_until_ms)
                server->still_until_ms = until_ms;
}

void sim_redis_heal(struct world *world)
{
        for (unsigned i = 0; i < world->n_servers; i++) {
                world->servers[i].stalled_until_ms = 0;
                come_back(world, &world->servers[i], world->servers[i].life, NULL);
        }
        sim_replication_heal(world);
}
