/* Any JSON as the `to` of a log entry: what is read has one form only, and is read from it again. */
#include <stdint.h>
#include <string.h>

#include <jansson.h>

#include "proto/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static struct target *read_target(const void *bytes, size_t len)
{
        json_t *json = json_loadb(bytes, len, 0, NULL);
        struct target *target = NULL;
        enum err err = target_parse_object(json, &target);

        check((err == OK) == (target != NULL));
        json_decref(json);
        return target;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
        static const char *const traits[TRAITS] = { "default", "tv", "eu", "9.1" };
        struct target *target = read_target((const char *)bytes, len), *copy, *again;
        struct buf one = BUF_INIT, two = BUF_INIT;

        if (target == NULL)
                return 0;
        copy = target_copy(target);
        target_format(target, &one);
        check(copy != NULL && !one.failed);
        again = read_target(one.data, one.len);
        check(again != NULL && target_equal(target, again) && target_equal(copy, again));
        target_format(again, &two);
        check(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
        check(target_matches(target, traits) == target_matches(copy, traits));
        target_destroy(target);
        target_destroy(copy);
        target_destroy(again);
        buf_fini(&one);
        buf_fini(&two);
        return 0;
}
