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
        { "redis://u:p@h,u:p@i", ERR_INVALID }, /* or h would be left out without a word */
        { "sentinel://u:p@h,i,u:p@j/n", ERR_INVALID },
        { "redis://a,,b", ERR_INVALID },
        { "redis://a,", ERR_INVALID },
        { "redis://,a", ERR_INVALID },
        { "redis://a:1,b:x", ERR_INVALID },
        { "redis://1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", ERR_INVALID },
        { "redis://h?ca=/x", ERR_INVALID }, /* ... would be plain text */
        { "rediss://", ERR_INVALID },
        { "rediss://h?", ERR_INVALID },
        { "rediss://h?ca", ERR_INVALID },
        { "rediss://h?ca=", ERR_INVALID },
        { "rediss://h?verify=no", ERR_INVALID },
        { "rediss://h?ca=/a&", ERR_INVALID },
        { "rediss://h?ca=/a&ca=/b", ERR_INVALID },
        { "rediss://h?db=1", ERR_INVALID },
        { "rediss://h?key=/k", ERR_INVALID },
        { "sentinel://h", ERR_INVALID },
        { "sentinel://h/", ERR_INVALID },
        { "sentinel://h/?db=1", ERR_INVALID },
        { "sentinel:///name", ERR_INVALID },
        { "sentinel://h/a/b", ERR_INVALID },
        { "sentinel://h/n?db=x", ERR_INVALID },
        { "sentinel://h/n?ca=/x", ERR_INVALID },
        { "sentinel://h/1234567890123456789012345678901234567890123456789012345678901234",
          ERR_INVALID },
        { "unix:///a?db=1&db=2", ERR_INVALID },
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

Test(redis_url, names_several_hosts_each_with_its_port)
{
        struct redis_address address;
        const char *why = NULL;

        cr_assert(eq(int, redis_parse_url("redis://u:p@a:1,b,[::1]:3/4", &address, &why), OK), "%s",
                  why);
        cr_assert(eq(uint, address.n_hosts, 3));
        cr_assert(eq(str, address.hosts[0].host, "a"));
        cr_assert(eq(int, address.hosts[0].port, 1));
        cr_assert(eq(str, address.hosts[1].host, "b"));
        cr_assert(eq(int, address.hosts[1].port, 6379));
        cr_assert(eq(str, address.hosts[2].host, "::1"));
        cr_assert(eq(int, address.hosts[2].port, 3));
        cr_assert(eq(uint, address.database, 4));
        cr_assert(eq(str, address.password, "p"));
        cr_assert(not(address.tls));
}

Test(redis_url, of_rediss_means_tls_with_these_files)
{
        struct redis_address address;
        const char *why = NULL;

        cr_assert(eq(int, redis_parse_url("rediss://h/2", &address, &why), OK), "%s", why);
        cr_assert(address.tls);
        cr_assert(eq(str, address.ca_file, ""));
        cr_assert(eq(uint, address.database, 2));
        cr_assert(
            eq(int, redis_parse_url("rediss://h:7?key=/k%20k&ca=/a/ca.pem&cert=/c", &address, &why),
               OK),
            "%s", why);
        cr_assert(eq(int, address.hosts[0].port, 7));
        cr_assert(eq(str, address.ca_file, "/a/ca.pem"));
        cr_assert(eq(str, address.cert_file, "/c"));
        cr_assert(eq(str, address.key_file, "/k k"));
}

Test(redis_url, of_sentinels_names_them_and_the_primary)
{
        struct redis_address address;
        const char *why = NULL;

        cr_assert(
            eq(int,
               redis_parse_url("sentinel://u:p@s1,s2:5/my-primary?sentinel_password=x%26y&db=3",
                               &address, &why),
               OK),
            "%s", why);
        cr_assert(eq(int, address.scheme, REDIS_SENTINEL));
        cr_assert(eq(uint, address.n_hosts, 2));
        cr_assert(eq(str, address.hosts[0].host, "s1"));
        cr_assert(eq(int, address.hosts[0].port, 26379));
        cr_assert(eq(int, address.hosts[1].port, 5));
        cr_assert(eq(str, address.primary, "my-primary"));
        cr_assert(eq(str, address.sentinel_password, "x&y"));
        cr_assert(eq(str, address.user, "u"));
        cr_assert(eq(uint, address.database, 3));
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
