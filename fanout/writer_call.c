/* fanout/writer_call.c -- what kickoff.lua says of its KEYS and ARGV, in that order. Whatever is
 * random about an entry is drawn here, for functions draw nothing. */
#include "fanout/writer_call.h"

#include <stdio.h>

#include "base/rng.h"
#include "proto/keys.h"
#include "proto/token.h"

#define TEXT_OF(number) #number
#define TEXT(number)    TEXT_OF(number)

static const char *request_of(const struct change *change)
{
        return change->request_key[0] != '\0' ? change->request_key : NULL;
}

enum err writer_call_lookup(struct redis *redis, const char *ns, const struct change *change,
                            redis_reply_fn *on_reply, void *owner)
{
        const char *request = request_of(change);
        char events[KEY_MAX + 1], req[KEY_MAX + 1], meta[KEY_MAX + 1], drafts[KEY_MAX + 1];
        const char *with_request = request != NULL ? "1" : "0";
        const char *const argv[] = { "FCALL_RO", "kickoff1_lookup", "3",         events, req,
                                     meta,       change->event,     with_request };
        /* In earnest the append finds what stands in the way; a dry run asks here. */
        const char *const dry[] = { "FCALL_RO", "kickoff1_lookup", "4",         events, req, meta,
                                    drafts,     change->event,     with_request };

        key_format(meta, ns, KEY_META, NULL);
        key_format(events, ns, KEY_EVENTS, NULL);
        key_format(req, ns, KEY_REQUEST, request);
        key_format(drafts, ns, KEY_DRAFTS, change->event);
        if (change->dry_run)
                return redis_command(redis, on_reply, owner, countof(dry), dry, NULL);
        return redis_command(redis, on_reply, owner, countof(argv), argv, NULL);
}

enum err writer_call_append(struct redis *redis, const char *ns, const struct append *append,
                            redis_reply_fn *on_reply, void *owner)
{
        const struct change *change = append->change;
        const char *request = request_of(change);
        char log[KEY_MAX + 1], meta[KEY_MAX + 1], events[KEY_MAX + 1], req[KEY_MAX + 1];
        char bundles[KEY_MAX + 1], drafts[KEY_MAX + 1], channel[KEY_MAX + 1], audit[KEY_MAX + 1];
        char replaced[KEY_MAX + 1];
        const struct audit_note *note = change->note;
        char expected[24], now[24], ttl[24], keep_ms[24], hold[16], tag[17];
        char epoch[17], seq[24], seen_tag[17];
        const char *publishes = change->command.kind == COMMAND_PUBLISH ? "1" : "0";
        const char *publish = redis_server(redis)->is_cluster ? "SPUBLISH" : "PUBLISH";
        const char *fingerprint = request != NULL ? change->fingerprint : "";
        /* clang-format off */
        const char *const argv[] = {
                "FCALL", "kickoff1_append",
                "8", log, meta, events, req, bundles, drafts, audit, replaced,
                change->event, expected, append->record, append->body, tag, publish, channel, publishes,
                fingerprint, ttl, TEXT(EVENTS_MAX), TEXT(WRITER_KEEP_ENTRIES), keep_ms, now,
                hold, epoch, seq, seen_tag, append->durability,
                command_kind_name[change->command.kind], note->who, note->from, note->body, TEXT(AUDIT_KEEP),
        };
        /* clang-format on */

        key_format(log, ns, KEY_LOG, NULL);
        key_format(meta, ns, KEY_META, NULL);
        key_format(events, ns, KEY_EVENTS, NULL);
        key_format(req, ns, KEY_REQUEST, request);
        key_format(bundles, ns, KEY_BUNDLES, change->event);
        key_format(drafts, ns, KEY_DRAFTS, change->event);
        key_format(channel, ns, KEY_CHANNEL, NULL);
        key_format(audit, ns, KEY_AUDIT, NULL);
        key_format(replaced, ns, KEY_REPLACED, NULL);
        snprintf(expected, sizeof(expected), "%llu", (unsigned long long)append->expected);
        snprintf(now, sizeof(now), "%lld", (long long)append->now);
        snprintf(ttl, sizeof(ttl), "%d", WRITER_REQUEST_TTL_S);
        snprintf(keep_ms, sizeof(keep_ms), "%lld", WRITER_KEEP_MS);
        token_hex(rng_secure_u64(), tag);
        snprintf(hold, sizeof(hold), "%u", append->hold);
        token_hex(append->witness.epoch, epoch);
        snprintf(seq, sizeof(seq), "%llu", (unsigned long long)append->witness.seq);
        token_hex(append->witness.tag, seen_tag);
        return redis_command(redis, on_reply, owner, countof(argv), argv, NULL);
}
