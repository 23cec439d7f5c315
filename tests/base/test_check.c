/* check(): silent when it holds, final when it does not. */
#include <signal.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/check.h"
#include "base/err.h"

Test(check, goes_on_when_the_condition_holds)
{
        int evaluated = 0;

        check(++evaluated == 1);
        cr_assert(eq(int, evaluated, 1), "the condition is evaluated once");
}

Test(check, stops_the_process_when_it_does_not, .signal = SIGABRT)
{
        check(1 + 1 == 3);
}

Test(check, survives_a_very_long_condition, .signal = SIGABRT)
{
        char text[4096];

        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        check_failed("file.c", 1, text);
}

Test(err, every_kind_has_a_word_of_its_own)
{
        for (int i = 0; i < ERR_KINDS; i++) {
                cr_assert(ne(ptr, (void *)err_name(i), NULL), "kind %d", i);
                for (int j = 0; j < i; j++)
                        cr_assert(ne(str, (char *)err_name(i), (char *)err_name(j)));
        }
        cr_assert(eq(str, (char *)err_name(OK), "ok"));
        cr_assert(eq(str, (char *)err_name(ERR_UNSUPPORTED), "unsupported"));
}

Test(err, a_number_that_is_no_kind_is_our_bug, .signal = SIGABRT)
{
        err_name(ERR_KINDS);
}
