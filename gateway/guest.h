/* gateway/guest.h -- the HTTP side of a socket: reads request heads, asks the door, answers, or
 * lets in. */
#pragma once

#include "gateway/address.h"
#include "gateway/conn.h"
#include "prefetch/cache.h"

/* A new socket, taken over. Reads at once: under a rush the request is there already. */
void guest_arrive(struct worker *worker, struct conn *conn, const struct address *peer);
void guest_readable(struct worker *worker, struct conn *conn); /* HEAD */
void guest_writable(struct worker *worker, struct conn *conn); /* REPLYING */
void guest_timer(struct worker *worker, struct conn *conn);    /* HEAD, LOADING, REPLYING */
/* LOADING: what was waited for has come, or will not. */
void guest_loaded(struct worker *worker, struct conn *conn, enum cache_answer answer,
                  struct bundle_response *response);
