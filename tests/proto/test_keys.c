#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/check.h"
#include "proto/keys.h"

Test(keys, all_carry_the_hash_tag)
{
        char key[KEY_MAX + 1];

        for (unsigned kind = 0; kind < KEY_COUNT; kind++) {
                size_t len = key_format(key, "stage-2", (enum key_kind)kind, NULL);

                cr_assert(eq(sz, len, strlen(key)));
                cr_assert(eq(int, strncmp(key, "{stage-2}:", 10), 0));
        }
}

Test(keys, are_spelled_as_the_design_says)
{
        static const struct {
                enum key_kind kind;
                const char *id, *key;
        } rows[] = {
                { KEY_LOG, NULL, "{kickoff}:log" },
                { KEY_META, NULL, "{kickoff}:meta" },
                { KEY_EVENTS, NULL, "{kickoff}:events" },
                { KEY_REQUEST, "a:1", "{kickoff}:req:a:1" },
                { KEY_BUNDLES, "cup", "{kickoff}:bundles:cup" },
                { KEY_DRAFTS, "cup", "{kickoff}:drafts:cup" },
                { KEY_BODY, "e3b0", "{kickoff}:body:e3b0" },
                { KEY_REPLACED, NULL, "{kickoff}:replaced" },
                { KEY_REPORT, "41", "{kickoff}:report:41" },
                { KEY_NODES, NULL, "{kickoff}:nodes" },
                { KEY_ORDERS, NULL, "{kickoff}:orders" },
                { KEY_AUDIT, NULL, "{kickoff}:audit" },
                { KEY_TOUCH, NULL, "{kickoff}:touch" },
                { KEY_DEVICE, "tv-1", "{kickoff}:device:tv-1" },
                { KEY_NODE, "a1", "{kickoff}:node:a1" },
                { KEY_ASK, NULL, "{kickoff}:nodes-ask" },
                { KEY_CHANNEL, NULL, "{kickoff}:signals" },
        };
        char key[KEY_MAX + 1];

        cr_assert(eq(sz, countof(rows), KEY_COUNT));
        for (size_t i = 0; i < countof(rows); i++) {
                key_format(key, "kickoff", rows[i].kind, rows[i].id);
                cr_assert(eq(str, key, (char *)rows[i].key));
        }
}

Test(keys, have_room_for_the_longest_names)
{
        char ns[NAMESPACE_MAX + 1], id[REQUEST_KEY_MAX + 1], key[KEY_MAX + 1];

        memset(ns, 'n', NAMESPACE_MAX);
        ns[NAMESPACE_MAX] = '\0';
        memset(id, 'i', REQUEST_KEY_MAX);
        id[REQUEST_KEY_MAX] = '\0';
        for (unsigned kind = 0; kind < KEY_COUNT; kind++)
                cr_assert(le(sz, key_format(key, ns, (enum key_kind)kind, id), KEY_MAX));
}
