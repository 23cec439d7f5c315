/* gateway/broadcast.h -- walks a worker's sessions so that each is asked "what is next for you?"
 * after the log has grown. Decides who is asked when; what is sent is session_io's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"

struct worker;

struct broadcast {
        struct event *more; /* the next slice, after the loop has turned */
        uint32_t from, at;  /* the pass began at `from`; `at` is asked next */
        uint32_t batch;     /* sends of a slice: SENDER_BATCH, fewer where so many take too long */
        bool is_walking;
        bool wrapped; /* the end of conns[] is behind us: now 0 .. from - 1 */
        bool again;   /* somebody asked already may be behind: another pass */
        uint64_t began_us;
        uint32_t told; /* devices that were offered something */
};

must_check enum err broadcast_init(struct worker *worker);
void broadcast_fini(struct worker *worker);
/* Somebody may be behind: begin to walk, or walk again. Sends the first slice before it returns. */
void broadcast_kick(struct worker *worker);
/* conns[slot] left and conns[last] took its place (slot == last: just left). n_conns is `last` now.
 */
void broadcast_moved(struct worker *worker, uint32_t slot, uint32_t last);
