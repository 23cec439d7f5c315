/* fanout/order.c -- see the header. */
#include "fanout/order.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "proto/keys.h"

uint32_t order_rate(uint64_t devices, unsigned others, uint32_t within_ms)
{
        uint64_t half_ms = within_ms > 2 ? within_ms / 2 : 1;
        uint64_t rate = (devices * 1000 + half_ms - 1) / half_ms;
        uint64_t least = ORDER_NODE_RATE_MIN * (others > 0 ? (uint64_t)others : 1);
        uint64_t most = others > 0 ? ORDER_NODE_RATE_MAX * (uint64_t)others : ORDER_RATE_MAX;

        if (rate < least)
                rate = least;
        if (rate > most)
                rate = most;
        return rate < ORDER_RATE_MAX ? (uint32_t)rate : ORDER_RATE_MAX;
}

uint32_t order_over_ms(uint64_t devices, uint32_t rate)
{
        uint64_t over_ms = devices * 1000 / rate;

        return over_ms < UINT32_C(1) << 30 ? (uint32_t)over_ms : UINT32_C(1) << 30;
}

uint32_t order_told_by_ms(uint32_t within_ms)
{
        return within_ms - within_ms / 4;
}

bool order_holds(const struct order *order, int64_t started, int64_t now)
{
        int64_t age = now - order->given;

        /* Of clocks that are not quite together, the giver's may be the later one. */
        return order->started == started && age < ORDER_VALID_MS && age > -ORDER_VALID_MS;
}

enum err order_write(struct redis *redis, const char *ns, const char *node,
                     const struct order *order, redis_reply_fn *on_reply, void *owner)
{
        char key[KEY_MAX + 1];
        json_t *record =
            json_pack("{s:s, s:I, s:I, s:I, s:I}", "what", "drain", "started",
                      (json_int_t)order->started, "given", (json_int_t)order->given, "within_ms",
                      (json_int_t)order->within_ms, "rate", (json_int_t)order->rate);
        char *text = record != NULL ? json_dumps(record, JSON_COMPACT) : NULL;
        enum err err = ERR_NOMEM;

        key_format(key, ns, KEY_ORDERS, NULL);
        if (text != NULL) {
                const char *const argv[] = { "HSET", key, node, text };

                err = redis_command(redis, on_reply, owner, countof(argv), argv, NULL);
        }
        free(text);
        json_decref(record);
        return err;
}

enum err order_read(struct redis *redis, const char *ns, const char *node, redis_reply_fn *on_reply,
                    void *owner)
{
        char key[KEY_MAX + 1];

        key_format(key, ns, KEY_ORDERS, NULL);

        const char *const argv[] = { "HGET", key, node };

        return redis_command(redis, on_reply, owner, countof(argv), argv, NULL);
}

static bool member(const json_t *record, const char *name, int64_t min, int64_t max,
                   int64_t *ret_value)
{
        const json_t *value = json_object_get(record, name);

        *ret_value = json_integer_value(value);
        return json_is_integer(value) && *ret_value >= min && *ret_value <= max;
}

bool order_parse(const struct redis_reply *reply, struct order *ret_order)
{
        int64_t started, given, within_ms, rate;
        const char *text, *what;
        json_t *record;
        size_t len;
        bool good;

        if (reply == NULL || redis_type(reply) != REDIS_STRING)
                return false;
        text = redis_text(reply, &len);
        record = json_loadb(text, len, 0, NULL);
        what = json_string_value(json_object_get(record, "what"));
        /* An order of a later version, of another kind, is none that this one can follow. */
        good = what != NULL && strcmp(what, "drain") == 0 &&
               member(record, "started", 0, INT64_MAX, &started) &&
               member(record, "given", 0, INT64_MAX, &given) &&
               member(record, "within_ms", ORDER_WITHIN_MIN_MS, ORDER_WITHIN_MAX_MS, &within_ms) &&
               member(record, "rate", 1, ORDER_RATE_MAX, &rate);
        if (good)
                *ret_order = (struct order){ started, given, (uint32_t)within_ms, (uint32_t)rate };
        json_decref(record);
        return good;
}
