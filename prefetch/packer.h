/* prefetch/packer.h -- makes the coded variants of bundle bodies, once per body and node, in steps
 * of a millisecond between which the loop does everything else. One body at a time, in the order in
 * which they came. Knows bytes and codings; refuses to know what they are for. Control thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <sys/queue.h>

#include "base/blob.h"
#include "base/check.h"
#include "base/err.h"
#include "prefetch/coding.h"

struct event_base;
struct packer;

struct packing { /* embedded in what the body belongs to; zeroed to begin with */
        STAILQ_ENTRY(packing) turn;
        struct blob *body;            /* a reference, while under way */
        struct blob *packed[CODINGS]; /* references; NULL = not made, or it did not pay */
        bool is_under_way;
};

/* All that pays is in `packing`, which is its owner's again. Never from inside packer_add. */
typedef void packer_done_fn(void *owner, struct packing *packing);

must_check enum err packer_create(struct event_base *base, packer_done_fn *done, void *owner,
                                  struct packer **ret_packer);
void packer_destroy(struct packer *packer); /* what is under way is forgotten; NULL is fine */

/* `body` gains a reference until it is done. False: it is not worth trying (too small), or there is
 * no memory, and `done` will not be called. */
must_check bool packer_add(struct packer *packer, struct packing *packing, struct blob *body);
/* Bytes of all bodies that wait or are under way. */
size_t packer_backlog(const struct packer *packer);
/* No longer under way, and what was packed is dropped. */
void packer_drop(struct packer *packer, struct packing *packing);
