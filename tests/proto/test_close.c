#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <ctype.h>
#include <string.h>

#include "base/check.h"
#include "proto/close.h"

static const char *const enum_name[CLOSE_KINDS] = {
#define X(name, code, error, text) #name,
        CLOSE_REASONS(X)
#undef X
};

Test(close_table, names_each_reason_as_the_code_does)
{
        for (size_t i = 0; i < CLOSE_KINDS; i++) {
                const char *constant = enum_name[i] + strlen("CLOSE_");
                char name[64] = "";

                for (size_t k = 0; constant[k] != '\0'; k++)
                        name[k] = constant[k] == '_' ? '-' : (char)tolower(constant[k]);
                cr_assert(eq(str, (char *)close_table[i].name, name));
        }
}

Test(close_table, has_texts_that_fit_a_control_frame)
{
        for (size_t i = 0; i < CLOSE_KINDS; i++)
                cr_assert(le(sz, strlen(close_table[i].text), 123), "%s", close_table[i].name);
}

Test(close_table, sends_only_codes_that_a_peer_may_accept)
{
        for (size_t i = 0; i < CLOSE_KINDS; i++) {
                if (close_table[i].code != 0)
                        cr_assert(close_code_is_valid(close_table[i].code));
        }
}

Test(close_code, is_valid_as_rfc_6455_and_its_registry_say)
{
        static const struct {
                unsigned from, to;
        } valid[] = { { 1000, 1003 }, { 1007, 1014 }, { 3000, 4999 } };

        for (unsigned code = 0; code <= UINT16_MAX; code++) {
                bool expected = false;

                for (size_t i = 0; i < countof(valid); i++)
                        expected |= code >= valid[i].from && code <= valid[i].to;
                cr_assert(eq(int, close_code_is_valid((uint16_t)code), expected), "%u", code);
        }
}
