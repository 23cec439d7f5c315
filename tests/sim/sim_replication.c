/* tests/sim/sim_replication.c -- replicas follow their primary's journal, some way behind; WAIT
 * counts them; a failover promotes one, and the old primary may go on for a while as if nothing had
 * happened, until it is told and is made to follow like the others. */
#include "tests/sim/invariants.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/sim_redis.h"

static uint64_t pack(const struct server *replica, size_t lines)
{
        return replica->stream << 32 | lines;
}

/* --- WAIT ----------------------------------------------------------------------------------- */

static unsigned count(const struct world *world, const struct call *call)
{
        unsigned n = 0;

        for (unsigned i = 0; i < world->n_servers; i++) {
                const struct server *replica = &world->servers[i];

                n += replica->is_up && !replica->is_primary && replica->master == call->server &&
                     replica->known >= call->line;
        }
        return n;
}

static void end_wait(struct world *world, struct call **place)
{
        struct call *call = *place;

        *place = call->next_wait;
        call->replicas = count(world, call);
        sim_redis_answer(world, call);
        sim_redis_unref_call(call);
}

static void end_waits(struct world *world, struct server *server)
{
        struct call **place = &server->waits;

        while (*place != NULL) {
                if (count(world, *place) >= world->durability.replicas)
                        end_wait(world, place);
                else
                        place = &(*place)->next_wait;
        }
}

static void on_waited(struct world *world, void *owner, uint64_t life, void *load)
{
        struct server *server = owner;

        if (server->life == life) {
                for (struct call **place = &server->waits; *place != NULL;
                     place = &(*place)->next_wait) {
                        if (*place == load) {
                                end_wait(world, place);
                                break;
                        }
                }
        }
        sim_redis_unref_call(load);
}

void sim_replication_wait(struct world *world, struct call *call)
{
        struct server *server = &world->servers[call->server];

        sim_redis_hold_call(call);
        call->next_wait = server->waits;
        server->waits = call;
        sim_redis_hold_call(call);
        world_send(world, call->wait_ms, on_waited, server, server->life, call,
                   sim_redis_unref_call);
        end_waits(world, server);
}

void sim_replication_forget_waits(struct server *server)
{
        while (server->waits != NULL) {
                struct call *call = server->waits;

                server->waits = call->next_wait;
                sim_redis_unref_call(call);
        }
}

/* --- the stream ----------------------------------------------------------------------------- */

static void on_known(struct world *world, void *owner, uint64_t packed, void *load)
{
        struct server *replica = owner;
        size_t lines = (size_t)(packed & UINT32_MAX);

        (void)load;
        if (packed >> 32 != replica->stream)
                return;
        if (lines > replica->known)
                replica->known = lines;
        end_waits(world, &world->servers[replica->master]);
}

static void on_stream(struct world *world, void *owner, uint64_t packed, void *load)
{
        struct server *replica = owner, *master = &world->servers[replica->master];
        size_t lines = (size_t)(packed & UINT32_MAX);

        (void)load;
        if (packed >> 32 != replica->stream || !replica->is_up || !master->is_up)
                return;
        if (world->now_ms < replica->stalled_until_ms) {
                world_in(world, replica->stalled_until_ms - world->now_ms, on_stream, replica,
                         packed);
                return;
        }
        for (size_t i = model_journal(replica->model); i < lines; i++) {
                model_follow(replica->model, master->model, i);
                sim_book_line(world, replica, model_line(replica->model, i), NULL);
        }
        replica->synced = model_journal(replica->model);
        world_in(world, world_random(world, 0, 3), on_known, replica, packed);
}

static void stream(struct world *world, struct server *replica)
{
        const struct server *master = &world->servers[replica->master];
        uint64_t in_ms = world_random(world, 0, 3), at_ms;

        if (faults_strike(world, FAULT_REPLICA_LAG))
                in_ms = world_random(world, 1, 3000);
        at_ms = world->now_ms + in_ms;
        if (master->still_until_ms > world->now_ms)
                at_ms = master->still_until_ms + in_ms; /* what its disk has not, it sends nobody */
        if (at_ms < replica->last_stream_ms)
                at_ms = replica->last_stream_ms;
        replica->last_stream_ms = at_ms;
        world_in(world, at_ms - world->now_ms, on_stream, replica,
                 pack(replica, model_journal(master->model)));
}

void sim_replication_wrote(struct world *world, struct server *server)
{
        for (unsigned i = 0; i < world->n_servers; i++) {
                struct server *replica = &world->servers[i];

                if (replica->is_up && !replica->is_primary && replica->master == server->index)
                        stream(world, replica);
        }
}

/* What it has and the master has not is gone. */
void sim_replication_attach(struct world *world, struct server *replica, struct server *master)
{
        size_t common = model_common(replica->model, master->model);

        check(replica != master);
        replica->is_primary = false;
        replica->master = master->index;
        replica->stream++;
        replica->known = 0;
        replica->last_stream_ms = 0;
        if (!replica->is_up || !master->is_up)
                return; /* when they are back */
        world_tell(world, WHO_REDIS, replica->index, "follows redis %u, keeps %u of %u lines",
                   master->index, common, model_journal(replica->model));
        if (common < model_journal(replica->model)) {
                sim_book_lost(world, replica, common, true);
                model_cut(replica->model, common);
                replica->synced = common;
                sim_book_again(world, replica);
        }
        stream(world, replica);
}

void sim_replication_attach_all(struct world *world, struct server *master)
{
        for (unsigned i = 0; i < world->n_servers; i++) {
                struct server *replica = &world->servers[i];

                if (!replica->is_primary && replica->master == master->index)
                        sim_replication_attach(world, replica, master);
        }
}

/* --- failover ------------------------------------------------------------------------------- */

static void on_heal(struct world *world, void *owner, uint64_t argument, void *load)
{
        (void)owner, (void)argument, (void)load;
        sim_replication_heal(world);
}

/* What nodes find out by themselves within a second or two: this is no primary any more. */
static void on_role_seen(struct world *world, void *owner, uint64_t argument, void *load)
{
        const struct server *server = owner;

        (void)argument, (void)load;
        if (!server->is_primary)
                sim_redis_cut_all(world, server->index);
}

void sim_replication_heal(struct world *world)
{
        struct server *primary = sim_redis_primary(world);

        for (unsigned i = 0; i < world->n_servers; i++) {
                struct server *server = &world->servers[i];
                bool was_primary = server->is_primary;

                if (server == primary || (!was_primary && server->master == primary->index))
                        continue;
                sim_replication_forget_waits(server);
                if (server->is_up) { /* it hears this after its disk, and then says no more of before */
                        sim_book_is_on_disk(world, server);
                        server->synced = model_journal(server->model);
                        server->life++;
                }
                sim_replication_attach(world, server, primary);
                if (was_primary && !world->quiet && world_chance(world, 200))
                        world_in(world, world_random(world, 1, 2000), on_role_seen, server, 0);
                else if (was_primary)
                        sim_redis_cut_all(world, server->index);
        }
}

/* Half of the nodes hear of it at once, each link for itself; the others while it heals. */
static void tell_some_nodes(struct world *world)
{
        for (unsigned i = 0; i < world->n_nodes; i++) {
                struct node *node = world->nodes[i];

                if (!node->is_alive || world_chance(world, 500))
                        continue;
                node->links.believes = world->primary;
                for (unsigned kind = 0; kind < LINKS; kind++) {
                        if (node->is_alive && world_chance(world, 800))
                                sim_redis_cut(world, node, (enum link_kind)kind);
                }
        }
}

void sim_replication_failover(struct world *world)
{
        unsigned from = (unsigned)world_random(world, 0, world->n_servers - 1);
        struct server *old = sim_redis_primary(world), *chosen = NULL;

        for (unsigned i = 0; i < world->n_servers && chosen == NULL; i++) {
                struct server *server = &world->servers[(from + i) % world->n_servers];

                if (server->is_up && !server->is_primary)
                        chosen = server;
        }
        if (chosen == NULL)
                return;
        world_tell(world, WHO_REDIS, chosen->index, "is promoted, log at %u; redis %u is %s",
                   model_data(chosen->model)->meta.seq, old->index,
                   trace_text(old->is_up ? "alive and was not asked" : "down"));
        chosen->is_primary = true;
        chosen->promoted_ms = chosen->hurt_ms = world->now_ms;
        chosen->stream++;
        world->primary = chosen->index;
        world->counted_failovers++;
        sim_book_promoted(world, chosen);
        for (unsigned i = 0; i < world->n_servers; i++) {
                struct server *server = &world->servers[i];

                if (!server->is_primary && (!old->is_up || world_chance(world, 500)))
                        sim_replication_attach(world, server, chosen);
        }
        if (old->is_up)
                tell_some_nodes(world);
        world_in(world, world_random(world, 300, 8000), on_heal, NULL, 0);
}
