/* fanout/writer_inside.h -- what the files of the writer share: one submit on its way (writer.c), its append
 * (writer_append.c), and the ways it can end (outcome.c). For these alone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "fanout/hold.h"
#include "fanout/writer.h"

enum submit_phase {       /* what would be true if nothing more were heard */
        SUBMIT_ASKING,    /* nothing was changed */
        SUBMIT_APPENDING, /* an append is on its way: nobody knows what came of it */
        SUBMIT_HELD       /* it is in the log, and held back from everybody */
};

struct submit {
        TAILQ_ENTRY(submit) entry;
        struct writer *writer; /* NULL: the owner was told; only an answer of Redis is due */
        struct change change;
        struct event create; /* what change.command.create points to */
        struct target *to;   /* what change.to points to */
        struct audit_note note;
        int64_t now;
        writer_done_fn *done;
        void *owner;
        uint64_t deadline_ms; /* monotonic; rising along `pending` */
        unsigned tries;
        bool in_flight, loaded;
        enum submit_phase phase;
        void (*step)(struct submit *submit); /* what to send again once the library is there */
        bool is_full, has_drafts; /* as the look-up found it: for a dry run, which asks no further */
        bool has_before;
        struct event before, after;
        struct signal signal;
        enum outcome_kind held_kind; /* SUBMIT_HELD: what it becomes once released */
        struct outcome outcome;
        char why[256];
};
TAILQ_HEAD(submit_list, submit);

struct writer {
        struct writer_options options;
        char mode[DURABILITY_TEXT_MAX + 1];
        struct redis *redis; /* the primary's */
        struct hold *hold;
        struct event *later;    /* tells the owners of `decided` */
        struct event *deadline; /* of the first of `pending`, or of one that is done by now */
        struct submit_list pending, decided;
};

/* --- writer.c: what every step begins and ends with ---------------------------------------------------------- */

/* `step`: what made the call. */
void writer_called(struct submit *submit, enum err err, void (*step)(struct submit *submit));
/* Every answer comes through here. False: nobody is there to hear it. */
bool writer_landed(struct submit *submit);
/* Errors of either call. The function checks before it writes, so an error means nothing was written. */
void writer_take_error(struct submit *submit, const struct redis_reply *reply);
/* False: finished, for nobody can decide on what cannot be read. */
bool writer_take_before(struct submit *submit, const struct redis_reply *record);
/* The event's rules; what follows is the append. */
void writer_decide(struct submit *submit);

/* --- writer_append.c ------------------------------------------------------------------------------------------ */

void writer_append_send(struct submit *submit);
/* A dry run: all that was asked, and nothing done. */
void writer_append_stop_short(struct submit *submit);
/* The first result of its key: at `i` of this answer, and behind it. */
void writer_append_take_replay(struct submit *submit, const struct redis_reply *reply, size_t i);

/* --- outcome.c: each tells the owner, who may destroy the writer, and frees the submit ----------------------- */

void outcome_finish(struct submit *submit, enum outcome_kind kind);
void outcome_free(struct submit *submit);
void outcome_finish_why(struct submit *submit, enum outcome_kind kind, const char *why, const char *detail);
void outcome_finish_with_event(struct submit *submit, enum outcome_kind kind, const struct event *event);
void outcome_refuse(struct submit *submit, enum err err, unsigned legal, const char *why);
/* What event_apply cannot know, and Redis finds. */
void outcome_refuse_full(struct submit *submit);
void outcome_refuse_nodrafts(struct submit *submit);
/* Nothing was changed, for `why`. The owner may still be inside writer_submit(), so it hears from the loop. */
void outcome_decided(struct submit *submit, const char *why);
/* Tells the owner of one whose answer is still due; that will free it. */
void outcome_abandon(struct submit *submit, const char *why);
/* What outcome_decided() decided; for the loop. */
void outcome_tell_decided(struct writer *writer);
