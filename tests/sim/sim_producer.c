/* tests/sim/sim_producer.c -- writer.c once more: look up, apply the real event rules, append, up
 * to five times, and wait until it is released if it is held back; and behind it somebody who wants
 * it done, once. */
#include "tests/sim/sim_producer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fanout/writer.h"
#include "tests/sim/invariants.h"
#include "tests/sim/sim_hold.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/sim_target.h"

#define ATTEMPTS_MAX 8

struct producer {
        unsigned index;
        uint64_t every_ms;
        char last_key[24], last_event[8];
};

struct wish { /* one command under one key, until it is told what came of it */
        struct producer *producer;
        char key[24], fingerprint[65], event[8];
        struct command command;
        const struct target *to; /* NULL: for everyone */
        struct event create;
        bool has_if_version;
        uint64_t if_version, newest_seen;
        unsigned attempts, tries;
        struct node *node;
        int64_t now;
        uint64_t deadline_ms;
        struct token result; /* of this or an earlier attempt; held back until it is released */
        uint64_t version;    /* that it made; 0 = an earlier one did */
        struct event after;
};

/* --- one attempt ---------------------------------------------------------------------------- */

static void attempt(struct world *world, void *owner, uint64_t argument, void *load);

static void drop_wish(void *load)
{
        free(load);
}

static void finish(struct world *world, struct wish *wish, const char *outcome)
{
        world_tell(world, WHO_PRODUCER, wish->producer->index, "%s: %s", trace_text(outcome),
                   trace_text(command_kind_name[wish->command.kind]));
        free(wish);
}

/* Nobody said what came of it. */
static void again(struct world *world, struct wish *wish)
{
        if (++wish->attempts == ATTEMPTS_MAX)
                finish(world, wish, "gives up");
        else
                world_send(world, world_random(world, 20, 2000), attempt, NULL, 0, wish, drop_wish);
}

static void told(struct world *world, struct wish *wish)
{
        sim_node_vouch(world, wish->node, &wish->result, &wish->after, wish->version == 0);
        invariants_acknowledged(world, wish->key, &wish->result, wish->version,
                                wish->has_if_version && wish->version != 0 ? wish->if_version + 1
                                                                           : 0);
        finish(world, wish, wish->version != 0 ? "is told: committed" : "is told: done before");
}

static void on_held(struct world *world, void *owner, enum hold_end end)
{
        if (end == HOLD_RELEASED)
                told(world, owner);
        else
                again(world, owner);
}

/* `call` made it or found it. */
static void take_result(struct world *world, struct wish *wish, const struct call *call,
                        bool is_first, bool is_held)
{
        wish->result = call->result;
        wish->version = is_first ? call->after.state.version : 0;
        wish->after = is_first ? call->after : call->known;
        if (is_held)
                sim_hold_await(world, wish->node, &wish->result, wish->deadline_ms, on_held, wish,
                               drop_wish);
        else
                told(world, wish);
}

static void decide(struct world *world, struct wish *wish, const struct event *before);

static void on_append(struct world *world, struct call *call, bool answered)
{
        struct wish *wish = call->owner;

        if (!answered || call->refused) {
                again(world, wish);
                return;
        }
        switch (call->answer) {
        case MODEL_COMMITTED:
        case MODEL_HELD:
                take_result(world, wish, call, true, call->answer == MODEL_HELD);
                break;
        case MODEL_REPLAYED:
        case MODEL_REPLAYED_HELD:
                take_result(world, wish, call, false, call->answer == MODEL_REPLAYED_HELD);
                break;
        case MODEL_STALE:
                if (wish->has_if_version || wish->tries >= WRITER_TRIES)
                        finish(world, wish, "is refused: stale");
                else
                        decide(world, wish, call->has_record ? &call->record : NULL);
                break;
        case MODEL_MISMATCH:
                finish(world, wish, "is refused: key used before");
                break;
        case MODEL_MOVED:
        case MODEL_LOST:
                again(world, wish); /* nothing was changed; the node is about to find out */
                break;
        case MODEL_MIXED: /* all nodes of a world are in one mode */
                invariants_broken(world, "line 1 durable", "an append was refused as mixed");
                break;
        case MODEL_FULL:
        case MODEL_NODRAFTS:
                finish(world, wish, "is refused: full, or no drafts");
                break;
        }
}

static void decide(struct world *world, struct wish *wish, const struct event *before)
{
        uint64_t version = before != NULL ? before->state.version : 0;
        struct node *node = wish->node;
        struct refusal refusal;
        struct call *call;

        if (wish->has_if_version && wish->if_version != version &&
            (before != NULL || wish->command.kind == COMMAND_CREATE)) {
                finish(world, wish, "is refused: stale");
                return;
        }
        if (!node->is_alive || !node->links.up[LINK_WRITES] || node->core.head.epoch == 0) {
                again(world, wish);
                return;
        }
        call = sim_redis_new_call(CALL_APPEND, on_append, wish);
        if (event_apply(before, &wish->command, wish->now, &call->after, &call->signal, &refusal) !=
            OK) {
                free(call);
                free(wish); /* so often that it is not worth telling */
                return;
        }
        wish->tries++;
        strcpy(call->event, wish->event);
        strcpy(call->key, wish->key);
        strcpy(call->fingerprint, wish->fingerprint);
        call->witness = *follower_core_witness(&node->core);
        call->after.epoch = call->witness.epoch;
        call->expected = version;
        call->target = wish->to;
        call->publish = wish->command.kind == COMMAND_PUBLISH;
        sim_redis_call(world, node, call);
}

static void on_lookup(struct world *world, struct call *call, bool answered)
{
        struct wish *wish = call->owner;

        if (!answered)
                again(world, wish);
        else if (call->has_request && strcmp(call->known_fingerprint, wish->fingerprint) == 0)
                take_result(world, wish, call, false, call->is_held);
        else if (call->has_request)
                finish(world, wish, "is refused: key used before");
        else
                decide(world, wish, call->has_record ? &call->record : NULL);
}

static void attempt(struct world *world, void *owner, uint64_t argument, void *load)
{
        struct node *node = world->nodes[world_random(world, 0, world->n_nodes - 1)];
        struct wish *wish = load;
        struct call *call;

        (void)owner, (void)argument;
        if (!node->is_alive || !node->links.up[LINK_WRITES]) {
                again(world, wish);
                return;
        }
        wish->node = node;
        wish->deadline_ms = world->now_ms + WRITER_ANSWER_MS;
        wish->now = sim_node_wall_ms(world, node);
        wish->tries = 0;
        call = sim_redis_new_call(CALL_LOOKUP, on_lookup, wish);
        strcpy(call->event, wish->event);
        strcpy(call->key, wish->key);
        sim_redis_call(world, node, call);
}

/* --- wishes --------------------------------------------------------------------------------- */

static void choose_command(struct world *world, struct wish *wish)
{
        static const enum command_kind kinds[] = {
                COMMAND_CREATE,  COMMAND_CREATE, COMMAND_START,   COMMAND_DELAY,   COMMAND_DELAY,
                COMMAND_STAGE,   COMMAND_STAGE,  COMMAND_REFRESH, COMMAND_REFRESH, COMMAND_PUBLISH,
                COMMAND_PUBLISH, COMMAND_END,    COMMAND_REOPEN
        };
        struct command *command = &wish->command;

        command->kind = kinds[world_random(world, 0, countof(kinds) - 1)];
        if (command->kind == COMMAND_END && !world_chance(world, 50))
                command->kind = COMMAND_REFRESH; /* an event that ended takes part no more */
        if (command->kind == COMMAND_CREATE) {
                strcpy(wish->create.title, "A title");
                strcpy(wish->create.state.event, wish->event);
                wish->create.state.starts_at = WALL_START_MS + 3600000000LL;
                if (world_chance(world, 500)) /* soon: no session ends of old age meanwhile */
                        wish->create.state.starts_at =
                            WALL_START_MS +
                            (int64_t)(world->now_ms + world_random(world, 2000, 60000));
                command->create = &wish->create;
        } else if (command->kind == COMMAND_START && world_chance(world, 500)) {
                command->has_lead = true;
                command->lead_ms = 2000;
        } else if (command->kind == COMMAND_DELAY) {
                command->has_by = true;
                command->by_ms = (int64_t)world_random(world, 1, 600000);
        } else if (command->kind == COMMAND_REOPEN && world_chance(world, 300)) {
                command->has_starts_at = true;
                command->starts_at =
                    WALL_START_MS + (int64_t)(world->now_ms + world_random(world, 0, 600000));
        } else if (command->kind == COMMAND_STAGE) {
                snprintf(command->stage, sizeof(command->stage), "half-%u",
                         (unsigned)world_random(world, 1, 5));
        }
}

static struct wish *new_wish(struct world *world, struct producer *producer)
{
        struct server *primary = sim_redis_primary(world);
        struct wish *wish = calloc(1, sizeof(*wish));

        check(wish != NULL);
        wish->producer = producer;
        snprintf(wish->event, sizeof(wish->event), "e%u",
                 (unsigned)world_random(world, 0, EVENTS_AT_ALL - 1));
        choose_command(world, wish);
        if (world_chance(world, 350))
                wish->to = sim_target((unsigned)world_random(world, 1, SIM_TARGETS - 1));
        wish->has_if_version = world_chance(world, 150);
        wish->if_version = world_random(world, 0, 8);
        snprintf(wish->key, sizeof(wish->key), "k%u", world->n_keys++);
        if (producer->last_key[0] != '\0' && world_chance(world, 30)) /* careless */
                strcpy(wish->key, producer->last_key);
        snprintf(wish->fingerprint, sizeof(wish->fingerprint), "f%u", world->n_keys);
        strcpy(producer->last_key, wish->key);
        if (wish->command.kind == COMMAND_PUBLISH && world_chance(world, 800) && primary->is_up &&
            world->now_ms >= primary->still_until_ms) {
                model_draft(primary->model, wish->event);
                sim_replication_wrote(world, primary);
        }
        return wish;
}

static void on_turn(struct world *world, void *owner, uint64_t argument, void *load)
{
        struct producer *producer = owner;
        struct wish *wish, *twin;

        (void)argument, (void)load;
        if (world->quiet)
                return;
        wish = new_wish(world, producer);
        if (world_chance(world,
                         100)) { /* impatient: the same again, before the first is answered */
                twin = malloc(sizeof(*twin));
                check(twin != NULL);
                *twin = *wish;
                if (twin->command.create != NULL)
                        twin->command.create = &twin->create;
                world_send(world, world_random(world, 0, 10), attempt, NULL, 0, twin, drop_wish);
        }
        world_send(world, 0, attempt, NULL, 0, wish, drop_wish);
        world_in(world, world_random(world, 1, producer->every_ms), on_turn, producer, 0);
}

struct producer *sim_producer_create(struct world *world, unsigned index)
{
        static const uint64_t paces[] = { 60, 300, 1000, 3000 };
        struct producer *producer = calloc(1, sizeof(*producer));

        check(producer != NULL);
        producer->index = index;
        producer->every_ms = paces[world_random(world, 0, countof(paces) - 1)];
        world_in(world, world_random(world, 0, 3000), on_turn, producer, 0);
        return producer;
}

void sim_producer_destroy(struct producer *producer)
{
        free(producer);
}
