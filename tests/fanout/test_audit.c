/* tests/fanout/test_audit.c -- what a request says of itself, made fit to be kept and shown; and
 * that the trail and the log are one: a change is in both or in neither. */
#include "fanout/audit.h"

#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "tests/fanout/fixture.h"

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
        audit_note_set(&note, "\xc2\x9b[2J", "\xc2\xa0", NULL); /* CSI in one character */
        cr_assert(eq(str, note.who,
                     "?"
                     "?[2J"));
        cr_assert(eq(str, note.from, "\xc2\xa0"));
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
        cr_assert(audit_id_is_valid("9999999999999999999-9999999999999999999"));
        cr_assert(not(audit_id_is_valid("99999999999999999999-0"))); /* more than 64 bits */
        cr_assert(not(audit_id_is_valid("0-99999999999999999999")));
}

static int asked(struct fixture *f, const char *command, const char *key)
{
        char *answer = test_redis_ask(f->server, command, key, NULL);
        int n = atoi(answer);

        free(answer);
        return n;
}

Test(audit, the_trail_keeps_about_as_many_entries_as_are_promised)
{
        struct fixture f = fixture_start();

        test_redis_do(
            f.server, "EVAL",
            "for i = 1, 100500 do redis.call('XADD', KEYS[1], i .. '-0', 'kind', 'x') end "
            "return 1",
            "1", "{" NS "}:audit", NULL);
        cr_assert(eq(int, fixture_create(&f, "final").outcome.kind, OUTCOME_COMMITTED));
        cr_assert(ge(int, asked(&f, "XLEN", "{" NS "}:audit"), AUDIT_KEEP));
        cr_assert(lt(int, asked(&f, "XLEN", "{" NS "}:audit"), AUDIT_KEEP + 200));
        fixture_stop(&f);
}

Test(audit, a_change_that_cannot_be_entered_is_not_made)
{
        struct fixture f = fixture_start();
        struct result result;

        test_redis_do(f.server, "SET", "{" NS "}:audit", "no stream", NULL);
        result = fixture_create(&f, "final");
        cr_assert(eq(int, result.outcome.kind, OUTCOME_FAILED));
        cr_assert(eq(int, asked(&f, "XLEN", "{" NS "}:log"), 0));
        cr_assert(eq(int, asked(&f, "HLEN", "{" NS "}:events"), 0));
        test_redis_do(f.server, "DEL", "{" NS "}:audit", NULL);
        cr_assert(eq(int, fixture_create(&f, "final").outcome.kind, OUTCOME_COMMITTED));
        cr_assert(eq(int, asked(&f, "XLEN", "{" NS "}:audit"), 1));
        fixture_stop(&f);
}

Test(audit, what_was_refused_repeated_or_only_tried_is_not_entered)
{
        struct fixture f = fixture_start();
        struct change change = fixture_change("final", COMMAND_START);

        fixture_create(&f, "final");
        strcpy(change.request_key, "key-1");
        strcpy(change.fingerprint, FINGERPRINT_A);
        change.dry_run = true;
        cr_assert(eq(int, fixture_do(&f, &change).outcome.kind, OUTCOME_POSSIBLE));
        cr_assert(eq(int, asked(&f, "EXISTS", "{" NS "}:req:key-1"), 0));
        cr_assert(eq(int, asked(&f, "XLEN", "{" NS "}:audit"), 1));
        change.dry_run = false;
        cr_assert(eq(int, fixture_do(&f, &change).outcome.kind, OUTCOME_COMMITTED));
        cr_assert(eq(int, fixture_do(&f, &change).outcome.kind, OUTCOME_REPLAYED));
        cr_assert(
            eq(int, fixture_command(&f, "final", COMMAND_START).outcome.kind, OUTCOME_REFUSED));
        cr_assert(eq(int, asked(&f, "XLEN", "{" NS "}:audit"), 2));
        cr_assert(eq(int, asked(&f, "XLEN", "{" NS "}:log"), 2));
        fixture_stop(&f);
}
