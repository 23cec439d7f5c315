/* fanout/report.c -- parts as text and back, and their sum. What Redis holds is checked as strictly
 * as what strangers send: a part that contradicts itself is counted as unreadable, never half
 * believed. Members this version does not know are passed over, so that N and N-1 live together. */
#include "fanout/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/log.h"
#include "fanout/fanout_metrics.h"
#include "proto/keys.h"

/* A node that died so long before the signal, at least, had no devices for it any more; one that
 * lived on for so long after it had the time to write a part. */
#define DIED_BEFORE_MS PRESENCE_GONE_MS
#define LIVED_ON_MS    2000

/* --- counts ---------------------------------------------------------------------------------- */

static const struct {
        const char *name;
        size_t at;
} counts[] = {
        { "connected", offsetof(struct report_part, connected) },
        { "written", offsetof(struct report_part, written) },
        { "silent", offsetof(struct report_part, silent) },
        { "acked", offsetof(struct report_part, acked) },
        { "said", offsetof(struct report_part, said) },
};

static uint32_t *count_of(struct report_part *part, size_t i)
{
        return (uint32_t *)((char *)part + counts[i].at);
}

static uint32_t count_in(const struct report_part *part, size_t i)
{
        return *(const uint32_t *)((const char *)part + counts[i].at);
}

void report_part_add(struct report_part *into, const struct report_part *from)
{
        for (size_t i = 0; i < countof(counts); i++) {
                uint32_t *sum = count_of(into, i), more = count_in(from, i);

                *sum = *sum > UINT32_MAX - more ? UINT32_MAX : *sum + more;
        }
        latency_add(&into->told, &from->told);
        latency_add(&into->acted, &from->acted);
}

/* --- text ------------------------------------------------------------------------------------ */

size_t report_field(char out[REPORT_FIELD_MAX + 1], const char *node, int64_t started)
{
        int len = snprintf(out, REPORT_FIELD_MAX + 1, "%s/%" PRId64, node, started);

        check(len > 0 && len <= REPORT_FIELD_MAX);
        return (size_t)len;
}

static bool field_parse(const char *field, struct report_node *node)
{
        const char *slash = strchr(field, '/');
        char *end;

        if (slash == NULL || !name_is_valid(field, (size_t)(slash - field), NODE_NAME_MAX) ||
            slash[1] < '0' || slash[1] > '9' || strlen(slash) > 17)
                return false;
        memcpy(node->name, field, (size_t)(slash - field));
        node->name[slash - field] = '\0';
        node->started = strtoll(slash + 1, &end, 10);
        return *end == '\0';
}

/* {"max":M,"h":[bucket,count,bucket,count,...]}: few buckets of 256 are in use. */
static void latency_format(const struct latency *latency, struct buf *out)
{
        const char *comma = "";

        buf_printf(out, "{\"max\":%" PRIu32 ",\"h\":[", latency->max_ms);
        for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
                if (latency->counts[i] == 0)
                        continue;
                buf_printf(out, "%s%u,%" PRIu32, comma, i, latency->counts[i]);
                comma = ",";
        }
        buf_str(out, "]}");
}

static bool take_number(const json_t *value, json_int_t max, uint32_t *ret_number)
{
        json_int_t number = json_integer_value(value);

        if (!json_is_integer(value) || number < 0 || number > max)
                return false;
        *ret_number = (uint32_t)number;
        return true;
}

static bool latency_parse(const json_t *object, struct latency *ret_latency)
{
        const json_t *pairs = json_object_get(object, "h");
        struct latency latency = { .n = 0 };
        size_t n = json_array_size(pairs);
        uint32_t bucket, next = 0;

        if (!json_is_array(pairs) || n % 2 != 0 ||
            !take_number(json_object_get(object, "max"), UINT32_MAX, &latency.max_ms))
                return false;
        for (size_t i = 0; i < n; i += 2) {
                uint32_t *count;

                if (!take_number(json_array_get(pairs, i), LATENCY_BUCKETS - 1, &bucket) ||
                    bucket < next)
                        return false;
                count = &latency.counts[bucket];
                if (!take_number(json_array_get(pairs, i + 1), UINT32_MAX - latency.n, count))
                        return false;
                latency.n += *count;
                next = bucket + 1;
        }
        *ret_latency = latency;
        return true;
}

void report_part_format(const struct report_part *part, int64_t at, struct buf *out)
{
        char epoch[17], tag[17];

        token_hex(part->token.epoch, epoch);
        token_hex(part->token.tag, tag);
        buf_printf(out, "{\"epoch\":\"%s\",\"tag\":\"%s\",\"at\":%" PRId64, epoch, tag, at);
        for (size_t i = 0; i < countof(counts); i++)
                buf_printf(out, ",\"%s\":%" PRIu32, counts[i].name, count_in(part, i));
        buf_str(out, ",\"told\":");
        latency_format(&part->told, out);
        buf_str(out, ",\"acted\":");
        latency_format(&part->acted, out);
        buf_char(out, '}');
}

static bool take_hex(const json_t *object, const char *member, uint64_t *ret_value)
{
        const json_t *text = json_object_get(object, member);

        return json_is_string(text) &&
               token_parse_hex(json_string_value(text), json_string_length(text), ret_value) == OK;
}

static bool take_part(const json_t *object, struct report_part *part, int64_t *ret_at)
{
        const json_t *at = json_object_get(object, "at");

        if (!json_is_integer(at) || json_integer_value(at) < 0)
                return false;
        if (!take_hex(object, "epoch", &part->token.epoch) || part->token.epoch == 0 ||
            !take_hex(object, "tag", &part->token.tag))
                return false;
        for (size_t i = 0; i < countof(counts); i++)
                if (!take_number(json_object_get(object, counts[i].name), UINT32_MAX,
                                 count_of(part, i)))
                        return false;
        if (!latency_parse(json_object_get(object, "told"), &part->told) ||
            !latency_parse(json_object_get(object, "acted"), &part->acted))
                return false;
        *ret_at = json_integer_value(at);
        return part->told.n == part->written && part->silent <= part->written &&
               part->acted.n <= part->acked && part->said <= part->acted.n;
}

enum err report_part_parse(const char *text, size_t len, struct report_part *ret_part,
                           int64_t *ret_at)
{
        json_t *object = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
        struct report_part part = { .connected = 0 };
        bool good = json_is_object(object) && take_part(object, &part, ret_at);

        json_decref(object);
        if (!good)
                return ERR_INVALID;
        *ret_part = part;
        return OK;
}

/* --- the sum --------------------------------------------------------------------------------- */

void report_init(struct report *report, const struct signal *signal)
{
        *report = (struct report){ .token = signal->token, .sent = signal->sent };
}

void report_fini(struct report *report)
{
        free(report->nodes);
        report->nodes = NULL;
        report->n = 0;
}

static enum err append(struct report *report, const struct report_node *node)
{
        struct report_node *nodes = realloc(report->nodes, (report->n + 1) * sizeof(*nodes));

        if (nodes == NULL)
                return ERR_NOMEM;
        report->nodes = nodes;
        nodes[report->n++] = *node;
        return OK;
}

enum err report_add(struct report *report, const char *field, const char *text, size_t len)
{
        struct report_node node = { .has_part = true };

        if (!field_parse(field, &node) ||
            report_part_parse(text, len, &node.part, &node.seen) != OK) {
                report->unreadable++;
                metric_add(&fanout_metric_report_unreadable, 1);
                return OK;
        }
        node.part.token.seq = report->token.seq; /* the key says it */
        if (!token_equal(&node.part.token, &report->token))
                return OK; /* counted for a signal of a history that is gone */
        return append(report, &node);
}

static const struct presence *presence_of(const struct presence *nodes, size_t n, const char *name)
{
        for (size_t i = 0; i < n; i++)
                if (strcmp(nodes[i].name, name) == 0)
                        return &nodes[i];
        return NULL;
}

/* That run is over if its node is away, or has been started again since. */
static void judge(struct report_node *node, const struct presence *presence)
{
        bool is_same = presence != NULL && presence->started == node->started;

        node->gone = !is_same || presence->gone;
        if (is_same && presence->seen > node->seen)
                node->seen = presence->seen;
}

static bool has_part(const struct report *report, size_t n, const char *name)
{
        for (size_t i = 0; i < n; i++)
                if (strcmp(report->nodes[i].name, name) == 0)
                        return true;
        return false;
}

/* Nodes that were there with devices when the signal came, and died before they wrote a word of it.
 */
static enum err add_mute(struct report *report, const struct presence *nodes, size_t n)
{
        size_t n_parts = report->n;

        for (size_t i = 0; i < n; i++) {
                const struct presence *presence = &nodes[i];
                struct report_node node = { .started = presence->started,
                                            .seen = presence->seen,
                                            .gone = true,
                                            .part = { .token = report->token } };

                if (!presence->gone || presence->devices == 0 ||
                    presence->seen < report->sent - DIED_BEFORE_MS ||
                    presence->seen > report->sent + LIVED_ON_MS ||
                    has_part(report, n_parts, presence->name))
                        continue;
                strcpy(node.name, presence->name);
                node.part.connected =
                    presence->devices < UINT32_MAX ? (uint32_t)presence->devices : UINT32_MAX;
                if (append(report, &node) != OK)
                        return ERR_NOMEM;
        }
        return OK;
}

/* A node that was there when the signal came writes a part, if only to say that nobody was
 * connected. */
static bool is_awaited(const struct report *report, const struct presence *presence)
{
        return !presence->gone && presence->started <= report->sent &&
               !has_part(report, report->n, presence->name);
}

static int by_name(const void *left, const void *right)
{
        const struct report_node *a = left, *b = right;
        int order = strcmp(a->name, b->name);

        if (order != 0)
                return order;
        return a->started < b->started ? -1 : a->started > b->started;
}

enum err report_finish(struct report *report, const struct presence *nodes, size_t n)
{
        struct report_part *sum = &report->sum;

        for (size_t i = 0; i < report->n; i++)
                judge(&report->nodes[i], presence_of(nodes, n, report->nodes[i].name));
        if (add_mute(report, nodes, n) != OK)
                return ERR_NOMEM;
        if (report->n > 1)
                qsort(report->nodes, report->n, sizeof(report->nodes[0]), by_name);
        *sum = (struct report_part){ .token = report->token };
        report->partial = report->unreadable > 0;
        for (size_t i = 0; i < report->n; i++) {
                report_part_add(sum, &report->nodes[i].part);
                report->partial = report->partial || report->nodes[i].gone;
        }
        report->complete = report->n > 0 && sum->written >= sum->connected &&
                           (uint64_t)sum->acked + sum->silent >= sum->written;
        for (size_t i = 0; i < n; i++)
                report->complete = report->complete && !is_awaited(report, &nodes[i]);
        return OK;
}

/* --- reading --------------------------------------------------------------------------------- */

struct reading {
        struct redis *redis;
        char ns[NAMESPACE_MAX + 1];
        int64_t now;
        struct report report;
        report_fn *done;
        void *owner;
};

static void finish(struct reading *reading, enum err err)
{
        reading->done(reading->owner, err, err == OK ? &reading->report : NULL);
        report_fini(&reading->report);
        free(reading);
}

static void on_presence(void *owner, enum err err, const struct presence *nodes, size_t n)
{
        struct reading *reading = owner;

        if (err == OK)
                err = report_finish(&reading->report, nodes, n);
        finish(reading, err);
}

static void on_parts(void *owner, const struct redis_reply *reply)
{
        struct reading *reading = owner;
        enum err err = reply == NULL ? ERR_TIMEOUT : redis_type(reply) != REDIS_ARRAY ? ERR_IO : OK;

        for (size_t i = 0; err == OK && i + 1 < redis_count(reply); i += 2) {
                size_t len;
                const char *text = redis_text(redis_at(reply, i + 1), &len);

                err = report_add(&reading->report, redis_text(redis_at(reply, i), NULL), text, len);
        }
        if (err == OK && reading->report.unreadable > 0)
                log_warn("REPORT-UNREADABLE", "seq=%" PRIu64 " parts=%u", reading->report.token.seq,
                         reading->report.unreadable);
        if (err == OK)
                err =
                    presence_read(reading->redis, reading->ns, reading->now, on_presence, reading);
        if (err != OK)
                finish(reading, err);
}

enum err report_read(struct redis *redis, const char *ns, const struct signal *signal, int64_t now,
                     report_fn *done, void *owner)
{
        struct reading *reading = calloc(1, sizeof(*reading));
        char key[KEY_MAX + 1], seq[24];
        const char *const argv[] = { "HGETALL", key };
        enum err err;

        if (reading == NULL)
                return ERR_NOMEM;
        reading->redis = redis;
        reading->now = now;
        reading->done = done;
        reading->owner = owner;
        snprintf(reading->ns, sizeof(reading->ns), "%s", ns);
        report_init(&reading->report, signal);
        snprintf(seq, sizeof(seq), "%" PRIu64, signal->token.seq);
        key_format(key, ns, KEY_REPORT, seq);
        err = redis_command(redis, on_parts, reading, countof(argv), argv, NULL);
        if (err != OK)
                free(reading);
        return err;
}
