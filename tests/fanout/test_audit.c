/* tests/fanout/test_audit.c -- what a request says of itself, made fit to be kept and shown. */
#include "fanout/audit.h"

#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

Test(audit, texts_are_cut_at_whole_characters)
{
        char body[AUDIT_BODY_MAX + 10];
        struct audit_note note;

        memset(body, 'a', sizeof(body));
        memcpy(body + AUDIT_BODY_MAX - 1, "\xc3\xa9",
               2); /* an e with an acute accent, half of it too much */
        body[sizeof(body) - 1] = '\0';
        audit_note_set(&note, NULL, NULL, body);
        cr_assert(eq(sz, strlen(note.body), AUDIT_BODY_MAX - 1));
        cr_assert(eq(str, note.who, ""));
        cr_assert(eq(str, note.from, ""));
}

Test(audit, what_would_steer_a_terminal_or_is_no_text_is_made_harmless)
{
        struct audit_note note;

        audit_note_set(&note, "ann\033[2J\n", "\xff\xfe", "caf\xc3\xa9");
        cr_assert(eq(str, note.who, "ann?[2J?"));
        cr_assert(eq(str, note.from,
                     "?"
                     "?"));
        cr_assert(eq(str, note.body, "caf\xc3\xa9"));
}

Test(audit, an_entrys_id_is_two_numbers)
{
        cr_assert(audit_id_is_valid("0-0"));
        cr_assert(audit_id_is_valid("1795464002000-12"));
        cr_assert(not(audit_id_is_valid("")));
        cr_assert(not(audit_id_is_valid("1")));
        cr_assert(not(audit_id_is_valid("1-")));
        cr_assert(not(audit_id_is_valid("-1")));
        cr_assert(not(audit_id_is_valid("1-1 ")));
        cr_assert(not(audit_id_is_valid("(1-1")));
        cr_assert(not(audit_id_is_valid("123456789012345678901-0")));
}
