/* fanout/entry.h -- one entry of the signal log: in Redis as text, in a node's memory as ready-made
 * frames. Text form: stream fields `tag`, `prev` (the tag before it: the chain that shows a fork)
 * and `body` (the signal without its token, as JSON, and with `to` if it is not for everyone) and
 * `record` (the event after it, for the nodes' memory); published as "<token> <prev>
 * <body>\n<record>". */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/check.h"
#include "base/err.h"
#include "fanout/frame.h"
#include "proto/message.h"
#include "proto/target.h"

struct entry { /* immutable once made but for `streams`, shared by all threads */
        _Atomic uint32_t refs;
        struct signal signal;
        struct target *to; /* NULL: for everyone. Not in the frames: devices are not told */
        uint64_t prev_tag;
        char *record; /* the event after it, as text (event_parse); NULL: it came without one */
        struct blob *frames[ENCODINGS]; /* whole unmasked WebSocket frames, ready for send() */
        struct blob *
            skips[ENCODINGS]; /* likewise the `skip` up to this entry; NULL if it is for everyone */
        /* Both as blocks of an event stream: private, see entry_signal_frame(). */
        _Atomic(struct blob *) streams[2];
};

/* Makes the frames. `signal` is copied, and `record`, which may be NULL. The reference is the
 * caller's. NULL = no memory. */
struct entry *entry_create(const struct signal *signal, uint64_t prev_tag, const char *record);
/* The same for those alone whom `to` names (copied; NULL: for everyone), with the frames of its
 * `skip`. */
struct entry *entry_create_for(const struct signal *signal, const struct target *to,
                               uint64_t prev_tag, const char *record);
struct entry *entry_ref(struct entry *entry);
void entry_unref(struct entry *entry);
/* The signal in this form, and the `skip` in its place (not if it is for everyone): borrowed, they live as
 * long as the entry. Any thread. Those for event streams are made when first asked for, since many nodes hold
 * no stream; threads may race to, one wins. NULL = no memory, for WIRE_STREAM alone. */
struct blob *entry_signal_frame(struct entry *entry, enum wire wire);
struct blob *entry_skip_frame(struct entry *entry, enum wire wire);
/* Forget the record: who needed it has it, and thousands of entries are kept. Only before it is
 * shared. */
void entry_drop_record(struct entry *entry);

/* The `body` text of a signal, `to` being NULL if it is for everyone; malloc'd, NULL = no memory.
 */
char *entry_format_body(const struct signal *signal, const struct target *to);
/* From a published message, and from the fields of a stream entry (`record` may be NULL). The
 * record is kept as it came: who uses it parses it. ERR_INVALID, ERR_NOMEM. */
must_check enum err entry_parse_message(const char *bytes, size_t len, struct entry **ret_entry);
must_check enum err entry_parse_fields(uint64_t epoch, seqno seq, const char *tag, const char *prev,
                                       const char *body, size_t body_len, const char *record,
                                       struct entry **ret_entry);
