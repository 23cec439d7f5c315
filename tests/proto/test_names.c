#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "proto/names.h"

Test(names, take_the_whole_alphabet)
{
        const char *all = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:~-";

        cr_assert(name_is_valid(all, strlen(all), strlen(all)));
}

Test(names, refuse_every_other_byte)
{
        const char *all = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:~-";

        for (int c = 0; c < 256; c++) {
                char text[3] = { 'a', (char)c, 'b' };

                cr_assert(eq(int, name_is_valid(text, 3, 3), c != 0 && strchr(all, c) != NULL),
                          "byte %d", c);
        }
}

Test(names, have_a_length_of_one_to_max)
{
        cr_assert(not(name_is_valid("", 0, 4)));
        cr_assert(name_is_valid("a", 1, 4));
        cr_assert(name_is_valid("abcd", 4, 4));
        cr_assert(not(name_is_valid("abcde", 5, 4)));
}
