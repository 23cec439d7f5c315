/* fanout/presence.c -- a hash with one field per node. Nobody is elected and nothing expires by
 * itself: whoever reads judges by age, and sweeps out what is long gone. */
#include "fanout/presence.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/log.h"
#include "proto/keys.h"

#define US_PER_DEVICE_MAX 1e6

struct reading {
        presence_fn *done;
        void *owner;
        struct redis *redis;
        int64_t now;
        char key[KEY_MAX + 1], orders[KEY_MAX + 1];
};

/* [[cohort, platform, region, app, devices], ...]; NULL = no memory. */
static json_t *pack_audiences(const struct presence *mine)
{
        json_t *list = json_array();

        for (size_t i = 0; i < mine->n_audiences && list != NULL; i++) {
                const struct presence_audience *row = &mine->audiences[i];
                json_t *packed = json_pack("[s,s,s,s,I]", row->traits[TRAIT_COHORT],
                                           row->traits[TRAIT_PLATFORM], row->traits[TRAIT_REGION],
                                           row->traits[TRAIT_APP], (json_int_t)row->devices);

                if (json_array_append_new(list, packed) != 0) {
                        json_decref(list);
                        list = NULL;
                }
        }
        return list;
}

enum err presence_write(struct redis *redis, const char *ns, const struct presence *mine,
                        redis_reply_fn *on_reply, void *owner)
{
        char key[KEY_MAX + 1];
        json_t *record =
            json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:f, s:o, s:I}", "listen",
                      mine->listen, "version", mine->version, "devices", (json_int_t)mine->devices,
                      "seq", (json_int_t)mine->seq, "started", (json_int_t)mine->started, "seen",
                      (json_int_t)mine->seen, "room", (json_int_t)mine->room, "leaves",
                      (json_int_t)mine->leaves, "ended", (int)mine->ended, "us_per_device",
                      mine->us_per_device, "audiences", pack_audiences(mine), "others",
                      (json_int_t)mine->other_devices);
        char *text = record != NULL ? json_dumps(record, JSON_COMPACT) : NULL;
        enum err err = ERR_NOMEM;

        key_format(key, ns, KEY_NODES, NULL);
        if (text != NULL) {
                const char *const argv[] = { "HSET", key, mine->name, text };

                err = redis_command(redis, on_reply, owner, countof(argv), argv, NULL);
        }
        free(text);
        json_decref(record);
        return err;
}

static void take_text(const json_t *record, const char *member, char *out, size_t size)
{
        const char *text = json_string_value(json_object_get(record, member));

        if (text != NULL && strlen(text) < size)
                strcpy(out, text);
}

static bool take_audience(const json_t *packed, struct presence_audience *row)
{
        json_int_t devices = json_integer_value(json_array_get(packed, TRAITS));

        for (unsigned i = 0; i < TRAITS; i++) {
                const char *word = json_string_value(json_array_get(packed, i));

                if (word == NULL ||
                    (*word != '\0' && !name_is_valid(word, strlen(word), TRAIT_MAX)))
                        return false;
                strcpy(row->traits[i], word);
        }
        row->devices = (uint64_t)devices;
        return devices >= 0;
}

/* Of a node of before, or without memory: none, which is no reason not to show it. */
static void take_audiences(const json_t *record, struct presence *node)
{
        const json_t *list = json_object_get(record, "audiences");
        size_t n = json_array_size(list);
        json_int_t others = json_integer_value(json_object_get(record, "others"));
        struct presence_audience *rows;

        if (n == 0 || n > PRESENCE_AUDIENCES_MAX || others < 0)
                return;
        rows = calloc(n, sizeof(*rows));
        for (size_t i = 0; i < n && rows != NULL; i++) {
                if (!take_audience(json_array_get(list, i), &rows[i])) {
                        free(rows);
                        return;
                }
        }
        node->audiences = rows;
        node->n_audiences = rows != NULL ? n : 0;
        node->other_devices = (uint64_t)others;
}

static bool parse(const char *name, const char *json, size_t len, struct presence *node)
{
        json_t *record = json_loadb(json, len, 0, NULL);
        json_int_t devices = json_integer_value(json_object_get(record, "devices"));
        json_int_t seq = json_integer_value(json_object_get(record, "seq"));
        json_int_t started = json_integer_value(json_object_get(record, "started"));
        json_int_t seen = json_integer_value(json_object_get(record, "seen"));
        json_int_t room = json_integer_value(json_object_get(record, "room"));
        json_int_t leaves = json_integer_value(json_object_get(record, "leaves"));
        bool good = json_is_object(record) && name_is_valid(name, strlen(name), NODE_NAME_MAX) &&
                    devices >= 0 && seq >= 0 && started >= 0 && seen >= 0 && room >= 0 &&
                    leaves >= 0;

        *node = (struct presence){ 0 };
        if (good) {
                strcpy(node->name, name);
                take_text(record, "listen", node->listen, sizeof(node->listen));
                take_text(record, "version", node->version, sizeof(node->version));
                node->devices = (uint64_t)devices;
                node->seq = (seqno)seq;
                node->started = started;
                node->seen = seen;
                node->room = (uint64_t)room;
                node->leaves = leaves;
                node->ended = json_is_true(json_object_get(record, "ended"));
                node->us_per_device = json_number_value(json_object_get(record, "us_per_device"));
                if (!(node->us_per_device >= 0 && node->us_per_device <= US_PER_DEVICE_MAX))
                        node->us_per_device = 0; /* it makes no sense: as if it had not said */
                take_audiences(record, node);
        }
        json_decref(record);
        return good;
}

uint64_t presence_reach(const struct presence *node, const struct target *to, bool *ret_exact)
{
        uint64_t devices = node->other_devices;

        *ret_exact = true;
        if (to == NULL)
                return node->devices;
        if (node->n_audiences == 0) {
                *ret_exact = node->devices == 0;
                return node->devices;
        }
        *ret_exact = devices == 0;
        for (size_t i = 0; i < node->n_audiences; i++) {
                const struct presence_audience *row = &node->audiences[i];
                const char *const traits[TRAITS] = { row->traits[0], row->traits[1], row->traits[2],
                                                     row->traits[3] };

                if (target_matches(to, traits))
                        devices += row->devices;
        }
        return devices;
}

const char *presence_state(const struct presence *node)
{
        if (node->ended)
                return "ended";
        if (node->gone)
                return "gone";
        return node->leaves != 0 ? "draining" : "up";
}

unsigned presence_others(const struct presence *nodes, size_t n, const char *name)
{
        unsigned others = 0;

        for (size_t i = 0; i < n; i++)
                others += !nodes[i].gone && !nodes[i].ended && nodes[i].leaves == 0 &&
                          strcmp(nodes[i].name, name) != 0;
        return others;
}

static int by_name(const void *a, const void *b)
{
        return strcmp(((const struct presence *)a)->name, ((const struct presence *)b)->name);
}

/* With what it was told to do. */
static void forget(const struct reading *reading, const char *name)
{
        const char *const record[] = { "HDEL", reading->key, name };
        const char *const order[] = { "HDEL", reading->orders, name };

        log_info("NODE-FORGOTTEN", "node=%s", log_quote(name));
        if (redis_command(reading->redis, NULL, NULL, countof(order), order, NULL) != OK ||
            redis_command(reading->redis, NULL, NULL, countof(record), record, NULL) != OK)
                log_debug("NODE-FORGOTTEN", "not now: Redis is away"); /* the next reader will */
}

static void take_nodes(const struct reading *reading, const struct redis_reply *reply)
{
        size_t most = redis_count(reply) / 2, n = 0;
        struct presence *nodes = calloc(most + 1, sizeof(*nodes));

        if (nodes == NULL) {
                reading->done(reading->owner, ERR_NOMEM, NULL, 0);
                return;
        }
        for (size_t i = 0; i < most; i++) {
                const char *name = redis_text(redis_at(reply, 2 * i), NULL);
                size_t len;
                const char *json = redis_text(redis_at(reply, 2 * i + 1), &len);
                int64_t age;

                if (!parse(name, json, len, &nodes[n]))
                        continue; /* of a newer version, or not ours: not a node we know how to show
                                   */
                age = reading->now - nodes[n].seen;
                nodes[n].gone = age > PRESENCE_GONE_MS;
                if (age > PRESENCE_FORGET_MS) {
                        forget(reading, name);
                        free((void *)nodes[n].audiences);
                } else {
                        n++;
                }
        }
        qsort(nodes, n, sizeof(nodes[0]), by_name);
        reading->done(reading->owner, OK, nodes, n);
        for (size_t i = 0; i < n; i++)
                free((void *)nodes[i].audiences);
        free(nodes);
}

static void on_nodes(void *owner, const struct redis_reply *reply)
{
        struct reading *reading = owner;

        if (reply == NULL)
                reading->done(reading->owner, ERR_TIMEOUT, NULL, 0);
        else if (redis_type(reply) != REDIS_ARRAY)
                reading->done(reading->owner, ERR_IO, NULL, 0);
        else
                take_nodes(reading, reply);
        free(reading);
}

enum err presence_read(struct redis *redis, const char *ns, int64_t now, presence_fn *done,
                       void *owner)
{
        struct reading *reading = malloc(sizeof(*reading));
        enum err err;

        if (reading == NULL)
                return ERR_NOMEM;
        *reading = (struct reading){ .done = done, .owner = owner, .redis = redis, .now = now };
        key_format(reading->key, ns, KEY_NODES, NULL);
        key_format(reading->orders, ns, KEY_ORDERS, NULL);

        const char *const argv[] = { "HGETALL", reading->key };

        err = redis_command(redis, on_nodes, reading, countof(argv), argv, NULL);
        if (err != OK)
                free(reading);
        return err;
}
