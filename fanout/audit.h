/* fanout/audit.h -- the audit trail: who did what, when, from where. A Redis stream, {ns}:audit, of about
 * AUDIT_KEEP entries. Changes of events are entered by the very function that makes them
 * (kickoff1_append), so that there is no change without an entry and no entry without a change; what
 * else people do is entered after it was done (audit_write). Who it was is what they said of
 * themselves: a claim, as good as the admin token is kept.
 *
 * An entry's fields: `at` (Unix ms, the clock of the node asked), `who`, `kind`, one of `event`, `node`, `device`,
 * `from` (peer address), `body` (what was asked, cut at AUDIT_BODY_MAX), and of changes `seq`, `token`,
 * `version`. Control thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/redis.h"
#include "proto/names.h"
#include "proto/token.h"

#define AUDIT_KEEP      100000 /* entries; Redis trims whole nodes of the stream, so some more */
#define AUDIT_WHO_MAX   128    /* bytes */
#define AUDIT_FROM_MAX  63
#define AUDIT_BODY_MAX  1024
#define AUDIT_KIND_MAX  32
#define AUDIT_ID_MAX    41 /* of an entry: "<ms>-<n>" */
#define AUDIT_LIMIT_MAX 1000

struct audit_note {                    /* what is known of a request */
        char who[AUDIT_WHO_MAX + 1];   /* empty: did not say */
        char from[AUDIT_FROM_MAX + 1];
        char body[AUDIT_BODY_MAX + 1]; /* valid UTF-8 */
};

/* Texts from outside, any may be NULL: cut at whole characters; what is not UTF-8, or steers terminals, becomes
 * `?`. Pure. */
void audit_note_set(struct audit_note *note, const char *who, const char *from, const char *body);

enum audit_subject { AUDIT_EVENT, AUDIT_NODE, AUDIT_DEVICE, AUDIT_SUBJECTS };
extern const char *const audit_subject_name[AUDIT_SUBJECTS]; /* the field's name */

/* `kind` is a word such as "drain". `on_reply` hears Redis' answer; may be NULL. */
must_check enum err audit_write(struct redis *redis, const char *ns, const char *kind,
                                enum audit_subject subject, const char *name,
                                const struct audit_note *note, int64_t now,
                                redis_reply_fn *on_reply, void *owner);

struct audit_entry {
        char id[AUDIT_ID_MAX + 1];
        int64_t at; /* Unix ms */
        char kind[AUDIT_KIND_MAX + 1];
        enum audit_subject subject;
        char name[128 + 1]; /* of the event, node or device */
        struct audit_note note;
        bool is_change; /* then: */
        seqno seq;
        uint64_t version;
        char token[TOKEN_TEXT_MAX + 1];
};

/* Oldest first. `next`: go on after this one. err is OK, ERR_TIMEOUT, ERR_IO, ERR_NOMEM. All borrowed. */
typedef void audit_fn(void *owner, enum err err, const struct audit_entry *entries, size_t n,
                      const char *next);
/* With `after` (audit_id_is_valid) the first `limit` entries behind it, else the latest `limit`; `event` NULL: all. limit
 * is 1 to AUDIT_LIMIT_MAX. Reads the stream in pages, so it never holds Redis up. */
must_check enum err audit_read(struct redis *redis, const char *ns, const char *event,
                               const char *after, size_t limit, audit_fn *done, void *owner);
bool audit_id_is_valid(const char *id);
