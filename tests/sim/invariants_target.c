/* tests/sim/invariants_target.c -- the questions about signals that are for some devices only: each
 * is sent exactly those for it, and every place it is given is one that it has nothing to catch up
 * with before. */
#include <inttypes.h>
#include <string.h>

#include "tests/sim/invariants.h"
#include "tests/sim/sim_device.h"
#include "tests/sim/sim_target.h"

bool invariants_is_for(const struct device *device, const struct past *past)
{
        const char *traits[TRAITS];

        sim_target_traits(device->index, traits);
        return past->token.seq == 0 || target_matches(past->to, traits);
}

void invariants_device_skip(struct world *world, struct device *device, const struct token *token)
{
        const struct token *place = &device->place;
        struct token at = *token;

        if (token->epoch != place->epoch || token->seq < place->seq ||
            !history_is_before(&world->history, place, token))
                invariants_broken(world, "line 4 one_order",
                                  "device %u at %" PRIu64 " was led to %" PRIu64
                                  ", which is not ahead of it",
                                  device->index, place->seq, token->seq);
        for (; at.seq > place->seq; at.seq--) {
                const struct past *past = history_find(&world->history, &at);
                size_t event = (size_t)(past->signal.state.event[1] - '0');

                if (past->shown_ms == 0)
                        invariants_broken(world, "line 2 no_phantoms",
                                          "device %u was led past %" PRIu64 ", which is held back",
                                          device->index, at.seq);
                if (invariants_is_for(device, past))
                        invariants_broken(world, "line 5 at_least_once",
                                          "device %u was led past %" PRIu64 ", which is for it",
                                          device->index, at.seq);
                check(event < EVENTS_AT_ALL);
                if (device->passed[event].version < past->signal.state.version)
                        device->passed[event] = past->signal.state;
                at.tag = past->prev;
        }
}

size_t invariants_whole_state(const struct device *device, struct event_state states[EVENTS_AT_ALL])
{
        size_t n = device->n_states;

        memcpy(states, device->states, n * sizeof(states[0]));
        for (unsigned event = 0; event < EVENTS_AT_ALL; event++) {
                const struct event_state *passed = &device->passed[event];
                size_t i = 0;

                if (passed->version == 0)
                        continue;
                while (i < n && strcmp(states[i].event, passed->event) != 0)
                        i++;
                if (i == n)
                        n++;
                else if (states[i].version > passed->version)
                        continue;
                states[i] = *passed;
        }
        return n;
}

bool invariants_lacks_nothing(const struct world *world, const struct device *device,
                              const struct token *head)
{
        struct token at = *head;

        if (!history_is_before(&world->history, &device->place, head))
                return false;
        for (; at.seq > device->place.seq; at.seq--) {
                const struct past *past = history_find(&world->history, &at);

                if (invariants_is_for(device, past))
                        return false;
                at.tag = past->prev;
        }
        return true;
}
