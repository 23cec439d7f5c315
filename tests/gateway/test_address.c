/* Keys that limits count by, ranges that are trusted, and the table of counts. */
#include "gateway/address.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/rng.h"
#include "gateway/address_counts.h"

static struct address address(const char *text)
{
        struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
        struct sockaddr_in v4 = { .sin_family = AF_INET };

        if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
                return address_of_socket((struct sockaddr *)&v4);
        cr_assert(eq(int, inet_pton(AF_INET6, text, &v6.sin6_addr), 1), "%s", text);
        return address_of_socket((struct sockaddr *)&v6);
}

static uint64_t key(const char *text)
{
        struct address one = address(text);

        return address_key(&one);
}

/* --- keys ------------------------------------------------------------------------------------ */

Test(address, ipv4_counts_alone_however_it_is_written)
{
        cr_assert(eq(u64, key("192.0.2.7"), key("::ffff:192.0.2.7")));
        cr_assert(eq(u64, key("192.0.2.7"), key("64:ff9b::192.0.2.7")));
        cr_assert(ne(u64, key("192.0.2.7"), key("192.0.2.8")));
        cr_assert(ne(u64, key("192.0.2.7"), key("192.0.3.7")));
        cr_assert(ne(u64, key("64:ff9b::192.0.2.7"), key("64:ff9b::192.0.2.8")));
}

Test(address, ipv6_counts_by_its_64_first_bits)
{
        cr_assert(eq(u64, key("2001:db8:1:2::"), key("2001:db8:1:2:ffff:ffff:ffff:ffff")));
        cr_assert(ne(u64, key("2001:db8:1:2::"), key("2001:db8:1:3::")));
        cr_assert(ne(u64, key("2001:db8:1:2::"), key("2001:db8:0:2::")));
}

Test(address, no_key_is_nobodys)
{
        static const char *const table[] = { "::", "::1", "0.0.0.0", "255.255.255.255",
                                             "127.0.0.1" };

        for (size_t i = 0; i < countof(table); i++)
                cr_assert(ne(u64, key(table[i]), ADDRESS_NOBODY), "%s", table[i]);
        cr_assert(ne(u64, key("::1"), key("127.0.0.1")));
        cr_assert(ne(u64, key("::ffff:0:0"), key("::1")));
}

Test(address, a_proxys_word_counts_like_the_peers_own)
{
        struct proxy_header header = { .family = PROXY_IPV4, .source = { 192, 0, 2, 7 } };
        struct address one = address_of_proxy(&header);

        cr_assert(eq(u64, address_key(&one), key("192.0.2.7")));
        header.family = PROXY_IPV6;
        cr_assert(eq(int, inet_pton(AF_INET6, "2001:db8::7", header.source), 1));
        one = address_of_proxy(&header);
        cr_assert(eq(u64, address_key(&one), key("2001:db8::1")));
}

/* --- ranges ---------------------------------------------------------------------------------- */

static struct address_ranges ranges;
static const char *why;

Test(address, a_range_holds_its_first_and_last_and_nothing_beside_them)
{
        static const struct {
                const char *text, *before, *first, *last, *after;
        } table[] = {
                { "10.0.0.0/8", "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0" },
                { "192.0.2.64/27", "192.0.2.63", "192.0.2.64", "192.0.2.95", "192.0.2.96" },
                { "192.0.2.7", "192.0.2.6", "192.0.2.7", "::ffff:192.0.2.7", "192.0.2.8" },
                { "192.0.2.7/32", "192.0.2.6", "192.0.2.7", "192.0.2.7", "192.0.2.8" },
                { "0.0.0.0/0", "::1", "0.0.0.0", "255.255.255.255", "2001:db8::" },
                { "2001:db8::/33", "2001:db7:ffff::", "2001:db8::", "2001:db8:7fff:ffff::1",
                  "2001:db8:8000::" },
                { "::/0", NULL, "::", "ffff::", NULL },
                { "::1", "::", "::1", "::1", "::2" },
                { "::ffff:10.0.0.0/104", "9.255.255.255", "10.0.0.0", "10.255.255.255",
                  "11.0.0.0" },
        };

        for (size_t i = 0; i < countof(table); i++) {
                struct address one;

                cr_assert(eq(int, address_ranges_parse(table[i].text, &ranges, &why), OK));
                cr_assert(eq(uint, ranges.n, 1));
                for (unsigned which = 0; which < 4; which++) {
                        const char *text = which == 0   ? table[i].before
                                           : which == 1 ? table[i].first
                                           : which == 2 ? table[i].last
                                                        : table[i].after;

                        if (text == NULL)
                                continue;
                        one = address(text);
                        cr_assert(
                            eq(int, address_ranges_hold(&ranges, &one), which == 1 || which == 2),
                            "%s in %s", text, table[i].text);
                }
        }
}

Test(address, ranges_are_a_comma_list_of_64_at_most)
{
        char text[ADDRESS_RANGES_MAX * 16 + 32];
        size_t len = 0;
        struct address one = address("10.1.0.63");

        for (int i = 0; i < ADDRESS_RANGES_MAX; i++)
                len += (size_t)sprintf(text + len, "%s10.1.0.%d", i ? "," : "", i);
        cr_assert(eq(int, address_ranges_parse(text, &ranges, &why), OK));
        cr_assert(eq(uint, ranges.n, ADDRESS_RANGES_MAX));
        cr_assert(address_ranges_hold(&ranges, &one));
        strcpy(text + len, ",10.2.0.0/16");
        cr_assert(eq(int, address_ranges_parse(text, &ranges, &why), ERR_TOO_LARGE));
}

Test(address, what_is_no_range_is_refused_with_a_reason_that_names_it)
{
        static const struct {
                const char *text, *why;
        } table[] = {
                { "", "numeric address" },
                { "10.0.0.0/8,", "numeric address" },
                { ",10.0.0.0/8", "numeric address" },
                { "proxy.example.com", "'proxy.example.com' is no numeric address" },
                { "10.0.0/8", "'10.0.0/8' is no numeric address" },
                { "10.0.0.0/33", "0 to 32" },
                { "10.0.0.0/", "0 to 32" },
                { "10.0.0.0/+8", "0 to 32" },
                { "10.0.0.0/0008", "0 to 32" },
                { "2001:db8::/129", "0 to 128" },
                { "10.0.0.1/8", "'10.0.0.1/8' has bits set beyond its length" },
                { "2001:db8::1/64", "beyond its length" },
                { "10.0.0.0/8 ", "0 to 32" },
                { " 10.0.0.0/8", "numeric address" },
                { "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd", "too long" },
        };

        for (size_t i = 0; i < countof(table); i++) {
                ranges.n = 77;
                cr_assert(eq(int, address_ranges_parse(table[i].text, &ranges, &why), ERR_INVALID),
                          "%s", table[i].text);
                cr_assert(strstr(why, table[i].why) != NULL, "%s: %s", table[i].text, why);
                cr_assert(eq(uint, ranges.n, 77));
        }
}

/* --- counts ---------------------------------------------------------------------------------- */

Test(address_counts, count_each_address_and_each_kind_by_itself)
{
        struct address_counts counts;

        address_counts_init(&counts, 42);
        cr_assert(zero(u32, address_counts_get(&counts, 7, ADDRESS_SESSIONS)));
        cr_assert(address_counts_add(&counts, 7, ADDRESS_SESSIONS));
        cr_assert(address_counts_add(&counts, 7, ADDRESS_SESSIONS));
        cr_assert(address_counts_add(&counts, 7, ADDRESS_HANDSHAKES));
        cr_assert(address_counts_add(&counts, 8, ADDRESS_SESSIONS));
        cr_assert(eq(u32, address_counts_get(&counts, 7, ADDRESS_SESSIONS), 2));
        cr_assert(eq(u32, address_counts_get(&counts, 7, ADDRESS_HANDSHAKES), 1));
        cr_assert(eq(u32, address_counts_get(&counts, 8, ADDRESS_SESSIONS), 1));
        address_counts_take(&counts, 7, ADDRESS_SESSIONS);
        address_counts_take(&counts, 7, ADDRESS_SESSIONS);
        cr_assert(eq(u32, counts.used, 2));
        address_counts_take(&counts, 7, ADDRESS_HANDSHAKES);
        cr_assert(eq(u32, counts.used, 1));
        address_counts_fini(&counts);
}

/* Against an array indexed by key, which cannot be wrong. */
Test(address_counts, are_right_after_any_order_of_coming_and_going)
{
        enum { KEYS = 3000, STEPS = 300000 };
        static uint32_t truth[KEYS + 1][ADDRESS_COUNTS];
        struct address_counts counts;
        struct rng rng;
        uint32_t held = 0;

        rng_seed(&rng, 1);
        address_counts_init(&counts, rng_u64(&rng));
        for (int step = 0; step < STEPS; step++) {
                uint64_t one = 1 + rng_below(&rng, KEYS);
                enum address_count which = (enum address_count)rng_below(&rng, ADDRESS_COUNTS);
                /* More come in the first half, more go in the second. */
                bool comes = rng_below(&rng, 10) < (step < STEPS / 2 ? 7 : 3);

                if (comes) {
                        cr_assert(address_counts_add(&counts, one, which));
                        truth[one][which]++;
                } else if (truth[one][which] > 0) {
                        address_counts_take(&counts, one, which);
                        truth[one][which]--;
                }
                if (step % 1000 != 0)
                        continue;
                held = 0;
                for (uint64_t k = 1; k <= KEYS; k++) {
                        held += truth[k][0] + truth[k][1] > 0;
                        for (unsigned i = 0; i < ADDRESS_COUNTS; i++)
                                if (address_counts_get(&counts, k, (enum address_count)i) !=
                                    truth[k][i])
                                        cr_fatal("key %lu", (unsigned long)k);
                }
                cr_assert(eq(u32, counts.used, held));
        }
        cr_assert(lt(u32, counts.size, KEYS * 3)); /* at most doubled past three quarters */
        address_counts_fini(&counts);
}
