#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/redis.h"

struct good {
        const char *url;
        enum redis_scheme scheme;
        const char *host;
        uint16_t port;
        const char *user, *password;
        unsigned database;
};

#define UNIX_106                                                \
        "/"                                                     \
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
        "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static const struct good good[] = {
        { "redis://h", REDIS_TCP, "h", 6379, "", "", 0 },
        { "redis://h/", REDIS_TCP, "h", 6379, "", "", 0 },
        { "redis://redis.example:7000/15", REDIS_TCP, "redis.example", 7000, "", "", 15 },
        { "redis://127.0.0.1:65535", REDIS_TCP, "127.0.0.1", 65535, "", "", 0 },
        { "redis://[::1]", REDIS_TCP, "::1", 6379, "", "", 0 },
        { "redis://[fe80::1]:1/2", REDIS_TCP, "fe80::1", 1, "", "", 2 },
        { "redis://:secret@h", REDIS_TCP, "h", 6379, "", "secret", 0 },
        { "redis://node@h:1", REDIS_TCP, "h", 1, "node", "", 0 },
        { "redis://node:secret@h:1/3", REDIS_TCP, "h", 1, "node", "secret", 3 },
        { "redis://n%6Fde:p%40%3a%2Fx@h", REDIS_TCP, "h", 6379, "node", "p@:/x", 0 },
        { "redis://a:b@c@h", REDIS_TCP, "h", 6379, "a", "b@c", 0 }, /* the last @ divides */
        { "unix:///run/redis.sock", REDIS_UNIX, "/run/redis.sock", 0, "", "", 0 },
        { "unix:///run/redis.sock?db=9", REDIS_UNIX, "/run/redis.sock", 0, "", "", 9 },
        { "unix:///a%20b", REDIS_UNIX, "/a b", 0, "", "", 0 },
        { "unix://" UNIX_106, REDIS_UNIX, UNIX_106, 0, "", "", 0 },
};

static const struct {
        const char *url;
        enum err err;
} bad[] = {
        { "", ERR_INVALID },
        { "h:6379", ERR_INVALID },
        { "http://h", ERR_INVALID },
        { "redis:/h", ERR_INVALID },
        { "redis://", ERR_INVALID },
        { "redis://:6379", ERR_INVALID },
        { "redis://u:p@", ERR_INVALID },
        { "redis://h:", ERR_INVALID },
        { "redis://h:0", ERR_INVALID },
        { "redis://h:65536", ERR_INVALID },
        { "redis://h:99999999999999999999", ERR_INVALID },
        { "redis://h:-1", ERR_INVALID },
        { "redis://h:1x", ERR_INVALID },
        { "redis://h/x", ERR_INVALID },
        { "redis://h/1/2", ERR_INVALID },
        { "redis://h/-1", ERR_INVALID },
        { "redis://h?db=1", ERR_INVALID },
        { "redis://h/0?timeout=1", ERR_INVALID },
        { "redis://h#1", ERR_INVALID },
        { "redis://[::1", ERR_INVALID },
        { "redis://[]:1", ERR_INVALID },
        { "redis://[::1]x", ERR_INVALID },
        { "redis://u%0:p@h", ERR_INVALID },
        { "redis://u%zz:p@h", ERR_INVALID },
        { "redis://u:p%00q@h", ERR_INVALID },
        { "redis://u:p%0d%0aFLUSHALL@h", ERR_INVALID },
        { "unix://run/redis.sock", ERR_INVALID },
        { "unix://", ERR_INVALID },
        { "unix:///a?db=", ERR_INVALID },
        { "unix:///a?db=x", ERR_INVALID },
        { "unix:///a?tls=1", ERR_INVALID },
        { "unix:///a%00b", ERR_INVALID },
        { "unix://" UNIX_106 "c", ERR_INVALID },
        { "rediss://h", ERR_INVALID },
        { "sentinel://h1:1,h2:2/name", ERR_INVALID },
};

Test(redis_url, means_what_it_says)
{
        for (size_t i = 0; i < countof(good); i++) {
                struct redis_address address;
                const char *why = NULL;

                cr_assert(eq(int, redis_parse_url(good[i].url, &address, &why), OK), "%s: %s",
                          good[i].url, why);
                cr_expect(eq(int, address.scheme, good[i].scheme), "%s", good[i].url);
                cr_expect(eq(str,
                             good[i].scheme == REDIS_UNIX ? address.path : address.hosts[0].host,
                             (char *)good[i].host),
                          "%s", good[i].url);
                cr_expect(eq(int, address.hosts[0].port, good[i].port), "%s", good[i].url);
                cr_expect(eq(str, address.user, (char *)good[i].user), "%s", good[i].url);
                cr_expect(eq(str, address.password, (char *)good[i].password), "%s", good[i].url);
                cr_expect(eq(uint, address.database, good[i].database), "%s", good[i].url);
        }
}

Test(redis_url, that_means_nothing_is_refused_with_a_sentence_and_leaves_the_result_alone)
{
        for (size_t i = 0; i < countof(bad); i++) {
                struct redis_address address = { .database = 12345 };
                const char *why = NULL;

                cr_expect(eq(int, redis_parse_url(bad[i].url, &address, &why), bad[i].err), "%s",
                          bad[i].url);
                cr_expect(why != NULL && strlen(why) > 10, "%s", bad[i].url);
                cr_expect(eq(int, address.database, 12345), "%s", bad[i].url);
        }
}

Test(redis_url, of_any_length_is_safe)
{
        char url[2048];

        for (size_t len = 10; len < sizeof(url); len += 13) {
                struct redis_address address;
                const char *why = NULL;
                enum err err;

                memset(url, 'x', len);
                memcpy(url, "redis://", 8);
                url[len] = '\0';
                err = redis_parse_url(url, &address, &why);
                cr_expect(eq(int, err, len - 8 < sizeof(address.hosts[0].host) ? OK : ERR_INVALID),
                          "%zu", len);
        }
}
