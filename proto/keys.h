/* proto/keys.h -- the names Kickoff uses in Redis. All carry one hash tag, `{<namespace>}:`, so that
 * they live in one slot of a cluster. Bytes only; nobody here talks to Redis. */
#pragma once

#include <stddef.h>

#include "proto/names.h"

#define KEY_MAX (NAMESPACE_MAX + REQUEST_KEY_MAX + 32)

/*       kind          suffix      what it is */
#define KEY_KINDS(X)                                                                               \
        X(KEY_LOG,     "log")      /* stream: id <seq>-0, fields tag, prev, body, record (EPOCHS.md: more) */ \
        X(KEY_META,    "meta")     /* hash: epoch, seq, tag (as token texts write them), parent */ \
        X(KEY_EVENTS,  "events")   /* hash: event id -> record as JSON */                           \
        X(KEY_REQUEST, "req")      /* + request key: hash fingerprint, token, record, durability; 24 h */ \
        X(KEY_BUNDLES, "bundles")  /* + event id: hash cohort -> "<token> <sha256> <size> <content type>" */ \
        X(KEY_DRAFTS,  "drafts")   /* + event id: the same, not yet current, so without the token */  \
        X(KEY_BODY,    "body")     /* + sha256: the bytes of one bundle body */                     \
        X(KEY_REPLACED, "replaced") /* hash: sha256 of a body -> when a row that named it was replaced */ \
        X(KEY_REPORT,  "report")   /* + seq: delivery report */                                     \
        X(KEY_NODES,   "nodes")    /* hash: node name -> presence as JSON */                        \
        X(KEY_ORDERS,  "orders")   /* hash: node name -> what it is told to do, as JSON */         \
        X(KEY_AUDIT,   "audit")    /* stream: who did what, when, from where (fanout/audit.h) */   \
        X(KEY_TOUCH,   "touch")    /* hash: written to, so that WAIT counts for what came before */  \
        X(KEY_DEVICE,  "device")   /* + device id: hash n node, s session, t came, g went (fanout/registry.h); expires */ \
        X(KEY_NODE,    "node")     /* + node name: pub/sub channel to that node (fanout/device.h) */ \
        X(KEY_ASK,     "nodes-ask") /* pub/sub channel to all nodes */                              \
        X(KEY_CHANNEL, "signals")  /* pub/sub channel: "<token> <prev tag> <body>\n<record>" */

enum key_kind {
#define X(kind, suffix) kind,
        KEY_KINDS(X)
#undef X
        KEY_COUNT
};

/* "{ns}:log", or with `id` "{ns}:req:<id>". Returns the length. `id` may be NULL. */
size_t key_format(char out[KEY_MAX + 1], const char *ns, enum key_kind kind, const char *id);
