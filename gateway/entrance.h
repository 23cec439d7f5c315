/* gateway/entrance.h -- the threshold between a guest and a session, acted out: whose a new socket
 * is, who stands in line, who is sent off to make room, who is let in, and what the others are
 * told. What is decided is decided by admission.c (counts and rates), ladder.h (overload) and
 * door.c (the request); guest.c brings everybody here. */
#pragma once

#include <stddef.h>

#include "gateway/address.h"
#include "gateway/conn.h"
#include "gateway/door.h"
#include "proto/proxy.h"

struct worker;

/* Why somebody is turned away who did nothing wrong. */
#define ENTRANCE_SHED(X)                                                      \
        X(SHED_STARTING, "starting", 503, "this node is starting")            \
        X(SHED_LEAVING, "leaving", 503, "this node is leaving")               \
        X(SHED_OVERLOAD, "overload", 503, "this node has too much to do")     \
        X(SHED_FULL, "full", 503, "this node is full")                        \
        X(SHED_DESCRIPTORS, "descriptors", 503, "this node is full")          \
        X(SHED_RATE, "rate", 503, "too many come at once")                    \
        X(SHED_ADDRESS, "address", 429, "too many devices have this address") \
        X(SHED_MEMORY, "memory", 503, "this node is full")                    \
        X(SHED_FETCH, "fetch", 503, "this node does not hand out anything now")

enum shed {
#define X(name, word, status, title) name,
        ENTRANCE_SHED(X)
#undef X
            SHED_KINDS
};
extern const char *const entrance_shed_word[SHED_KINDS];

/* A new socket, in HEAD: nothing has been read. */
void entrance_arrived(struct worker *worker, struct conn *conn, const struct address *peer);
/* The first bytes of one that owes a PROXY header. DONE: *ret_used bytes were it. BAD: closed. */
enum proxy_status entrance_proxy(struct worker *worker, struct conn *conn, const char *at,
                                 size_t len, size_t *ret_used);
/* HEAD, and all that came has been read: into the line, by what it holds. */
void entrance_wait(struct worker *worker, struct conn *conn);
/* `newcomer` stands in line: who is surplus now is closed, it may be itself. Reads others' sockets
 * into the worker's scratch: nothing of one's own may lie there. */
void entrance_make_room(struct worker *worker, struct conn *newcomer);

/* CONNECT, STREAM: a session, or turned away. The connection may be DEAD after it. */
void entrance_let_in(struct worker *worker, struct conn *conn, const struct door_verdict *verdict);
/* Are bundles and the like not handed out now? They are the first to go (contract line 12). */
bool entrance_sheds_fetches(const struct worker *worker);
/* Says when to come back, in one write, and closes. DEAD after it. */
void entrance_shed(struct worker *worker, struct conn *conn, enum shed why,
                   const struct door_verdict *verdict);
/* Whoever has its answer must not keep the socket for long when so many do. */
bool entrance_is_crowded(const struct worker *worker);
