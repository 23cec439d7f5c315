/* fanout/audit.c -- see the header. What comes from Redis is read as if a stranger had written it:
 * an entry that makes no sense is skipped, for the others matter. */
#include "fanout/audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/keys.h"
#include "proto/utf8.h"

#define TEXT_OF(number) #number
#define TEXT(number)    TEXT_OF(number)

#define PAGE 1000 /* entries read at a time, where most may be of other events */

const char *const audit_subject_name[AUDIT_SUBJECTS] = { "event", "node", "device" };

/* --- notes ---------------------------------------------------------------------------------- */

/* How many bytes of a text fit, whole characters only. */
static size_t fitting(const char *text, size_t len, size_t max)
{
        if (len <= max)
                return len;
        len = max;
        while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80)
                len--;
        return len;
}

/* Part of U+0080 to U+009F, of which terminals take some for the beginning of a command? */
static bool is_c1(const unsigned char *text, size_t i, size_t len)
{
        if (text[i] == 0xC2)
                return i + 1 < len && text[i + 1] < 0xA0;
        return i > 0 && text[i - 1] == 0xC2 && text[i] >= 0x80 && text[i] < 0xA0;
}

static void take_over(const char *text, char *out, size_t max)
{
        const unsigned char *bytes = (const unsigned char *)(text != NULL ? text : "");
        size_t len = strlen((const char *)bytes);
        bool is_utf8 = utf8_is_valid((const char *)bytes, len);

        len = fitting((const char *)bytes, len, max);
        for (size_t i = 0; i < len; i++) {
                unsigned char byte = bytes[i];
                bool steers = byte < 0x20 || byte == 0x7F || is_c1(bytes, i, len);

                out[i] = (char)(steers || (!is_utf8 && byte > 0x7F) ? '?' : byte);
        }
        out[len] = '\0';
}

void audit_note_set(struct audit_note *note, const char *who, const char *from, const char *body)
{
        take_over(who, note->who, AUDIT_WHO_MAX);
        take_over(from, note->from, AUDIT_FROM_MAX);
        take_over(body, note->body, AUDIT_BODY_MAX);
}

enum err audit_write(struct redis *redis, const char *ns, const char *kind,
                     enum audit_subject subject, const char *name, const struct audit_note *note,
                     int64_t now, redis_reply_fn *on_reply, void *owner)
{
        char key[KEY_MAX + 1], at[24];
        /* clang-format off */
        const char *const argv[] = {
                "XADD", key, "MAXLEN", "~", TEXT(AUDIT_KEEP), "*",
                "at", at, "who", note->who, "kind", kind, audit_subject_name[subject], name,
                "from", note->from, "body", note->body,
        };
        /* clang-format on */

        key_format(key, ns, KEY_AUDIT, NULL);
        snprintf(at, sizeof(at), "%" PRId64, now);
        return redis_command(redis, on_reply, owner, countof(argv), argv, NULL);
}

/* --- reading -------------------------------------------------------------------------------- */

struct reading {
        audit_fn *done;
        void *owner;
        struct redis *redis;
        char key[KEY_MAX + 1];
        char event[EVENT_ID_MAX + 1];  /* empty: all */
        bool backwards;                /* the latest: read from the end */
        char at[AUDIT_ID_MAX + 1];     /* the last one looked at; empty: none */
        char newest[AUDIT_ID_MAX + 1]; /* of all that were looked at */
        size_t limit, n;
        struct audit_entry entries[]; /* in the order they were read */
};

bool audit_id_is_valid(const char *id)
{
        const size_t most =
            19; /* digits: one more may not fit Redis' 64 bits, which it calls an error */
        size_t ms = strspn(id, "0123456789"), n;

        if (ms == 0 || ms > most || id[ms] != '-')
                return false;
        n = strspn(id + ms + 1, "0123456789");
        return n > 0 && n <= most && id[ms + 1 + n] == '\0';
}

static void copy(const char *text, char *out, size_t size)
{
        snprintf(out, size, "%s", text);
}

static void take_field(struct audit_entry *entry, const char *name, const char *value)
{
        if (strcmp(name, "at") == 0)
                entry->at = strtoll(value, NULL, 10);
        else if (strcmp(name, "who") == 0)
                take_over(value, entry->note.who, AUDIT_WHO_MAX);
        else if (strcmp(name, "from") == 0)
                take_over(value, entry->note.from, AUDIT_FROM_MAX);
        else if (strcmp(name, "body") == 0)
                take_over(value, entry->note.body, AUDIT_BODY_MAX);
        else if (strcmp(name, "kind") == 0)
                take_over(value, entry->kind, AUDIT_KIND_MAX);
        else if (strcmp(name, "seq") == 0)
                entry->seq = strtoull(value, NULL, 10);
        else if (strcmp(name, "version") == 0)
                entry->version = strtoull(value, NULL, 10);
        else if (strcmp(name, "token") == 0)
                take_over(value, entry->token, TOKEN_TEXT_MAX);
        for (unsigned i = 0; i < AUDIT_SUBJECTS; i++)
                if (strcmp(name, audit_subject_name[i]) == 0) {
                        entry->subject = (enum audit_subject)i;
                        take_over(value, entry->name, sizeof(entry->name) - 1);
                }
}

static const char *field_of(const struct redis_reply *fields, const char *name)
{
        for (size_t i = 0; i + 1 < redis_count(fields); i += 2)
                if (strcmp(redis_text(redis_at(fields, i), NULL), name) == 0)
                        return redis_text(redis_at(fields, i + 1), NULL);
        return "";
}

static void take_entry(struct reading *reading, const char *id, const struct redis_reply *fields)
{
        struct audit_entry *entry = &reading->entries[reading->n];

        *entry = (struct audit_entry){ .at = 0 };
        copy(id, entry->id, sizeof(entry->id));
        for (size_t i = 0; i + 1 < redis_count(fields); i += 2)
                take_field(entry, redis_text(redis_at(fields, i), NULL),
                           redis_text(redis_at(fields, i + 1), NULL));
        if (entry->kind[0] == '\0' || entry->name[0] == '\0')
                return;
        entry->is_change = entry->seq > 0;
        reading->n++;
}

static void finish(struct reading *reading, enum err err)
{
        for (size_t i = 0; reading->backwards && i < reading->n / 2; i++) {
                struct audit_entry swapped = reading->entries[i];

                reading->entries[i] = reading->entries[reading->n - 1 - i];
                reading->entries[reading->n - 1 - i] = swapped;
        }
        reading->done(reading->owner, err, reading->entries, err == OK ? reading->n : 0,
                      reading->newest[0] != '\0' ? reading->newest : "0-0");
        free(reading);
}

static size_t page_of(const struct reading *reading)
{
        return reading->event[0] != '\0' ? PAGE : reading->limit - reading->n;
}

/* True: there may be more to look at. */
static bool take_page(struct reading *reading, const struct redis_reply *page)
{
        size_t wanted = page_of(reading);

        for (size_t i = 0; i < redis_count(page) && reading->n < reading->limit; i++) {
                const struct redis_reply *pair = redis_at(page, i);
                const char *id = redis_text(redis_at(pair, 0), NULL);
                const struct redis_reply *fields = redis_at(pair, 1);

                copy(id, reading->at, sizeof(reading->at)); /* whatever it is: behind it goes on */
                if (redis_count(pair) != 2 || !audit_id_is_valid(id))
                        continue;
                if (!reading->backwards || reading->newest[0] == '\0')
                        copy(id, reading->newest, sizeof(reading->newest));
                if (reading->event[0] == '\0' ||
                    strcmp(field_of(fields, "event"), reading->event) == 0)
                        take_entry(reading, id, fields);
        }
        return redis_count(page) >= wanted && reading->n < reading->limit;
}

static enum err ask_page(struct reading *reading);

static void on_page(void *owner, const struct redis_reply *reply)
{
        struct reading *reading = owner;
        enum err err = OK;

        if (reply == NULL)
                err = ERR_TIMEOUT;
        else if (redis_type(reply) != REDIS_ARRAY)
                err = ERR_IO;
        else if (take_page(reading, reply) && (err = ask_page(reading)) == OK)
                return;
        finish(reading, err);
}

static enum err ask_page(struct reading *reading)
{
        char from[AUDIT_ID_MAX + 2], count[16];
        const char *const forwards[] = { "XRANGE", reading->key, from, "+", "COUNT", count };
        const char *const backwards[] = { "XREVRANGE", reading->key, from, "-", "COUNT", count };

        if (reading->at[0] != '\0')
                snprintf(from, sizeof(from), "(%s", reading->at);
        else
                strcpy(from, reading->backwards ? "+" : "-");
        snprintf(count, sizeof(count), "%zu", page_of(reading));
        return redis_command(reading->redis, on_page, reading, countof(forwards),
                             reading->backwards ? backwards : forwards, NULL);
}

enum err audit_read(struct redis *redis, const char *ns, const char *event, const char *after,
                    size_t limit, audit_fn *done, void *owner)
{
        struct reading *reading;
        enum err err;

        check(limit >= 1 && limit <= AUDIT_LIMIT_MAX);
        check(after == NULL || audit_id_is_valid(after));
        reading = calloc(1, sizeof(*reading) + limit * sizeof(reading->entries[0]));
        if (reading == NULL)
                return ERR_NOMEM;
        reading->done = done;
        reading->owner = owner;
        reading->redis = redis;
        reading->limit = limit;
        reading->backwards = after == NULL;
        key_format(reading->key, ns, KEY_AUDIT, NULL);
        copy(event != NULL ? event : "", reading->event, sizeof(reading->event));
        copy(after != NULL ? after : "", reading->at, sizeof(reading->at));
        copy(reading->at, reading->newest, sizeof(reading->newest));
        err = ask_page(reading);
        if (err != OK)
                free(reading);
        return err;
}
