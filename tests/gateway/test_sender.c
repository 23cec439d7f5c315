/* What sender.h promises, with a real kernel. Where it has no io_uring there is nothing to promise
 * but that. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "gateway/sender.h"
#include "tests/gateway/forbid.h"

static struct sender *begun(void)
{
        struct sender *sender = NULL;
        const char *why;

        if (sender_create(SENDER_URING, &sender, &why) != OK) {
                fprintf(stderr, "not tested: %s\n", why);
                return NULL;
        }
        cr_assert(not(sender_is_open(sender)));
        sender_begin(sender);
        cr_assert(sender_is_open(sender));
        return sender;
}

static void end(struct sender *sender)
{
        sender_end(sender);
        sender_destroy(sender);
}

static void pair(int *ends)
{
        cr_assert(zero(int, socketpair(AF_UNIX, SOCK_STREAM, 0, ends)));
}

Test(sender, each_gets_its_own_bytes_and_each_result_is_told_in_order)
{
        struct sender *sender = begun();
        static int ends[SENDER_BATCH][2];
        static uint32_t numbers[SENDER_BATCH];

        if (sender == NULL)
                return;
        for (unsigned i = 0; i < SENDER_BATCH; i++)
                pair(ends[i]);
        for (uint32_t round = 0; round < 3; round++) {
                const struct sender_item *items;

                for (uint32_t i = 0; i < SENDER_BATCH; i++) {
                        numbers[i] = round << 16 | i;
                        sender_add(sender, ends[i][0], &numbers[i], sizeof(numbers[i]), ends[i]);
                }
                cr_assert(eq(uint, sender_waiting(sender), SENDER_BATCH));
                cr_assert(eq(uint, sender_run(sender, &items), SENDER_BATCH));
                cr_assert(zero(uint, sender_waiting(sender)));
                memset(numbers, 0xff, sizeof(numbers)); /* borrowed until then, not longer */
                for (uint32_t i = 0; i < SENDER_BATCH; i++) {
                        uint32_t got;

                        cr_assert(eq(ptr, items[i].ptr, (void *)ends[i]));
                        cr_assert(eq(u32, items[i].len, sizeof(numbers[i])));
                        cr_assert(eq(i32, items[i].result, sizeof(numbers[i])));
                        cr_assert(eq(i64, recv(ends[i][1], &got, sizeof(got), MSG_DONTWAIT),
                                     sizeof(got)));
                        cr_assert(eq(u32, got, round << 16 | i));
                }
        }
        end(sender);
}

/* Also on a descriptor that by itself would wait: the call itself must not. */
Test(sender, a_full_socket_and_a_dead_one_are_told_at_once_and_harm_nobody)
{
        struct sender *sender = begun();
        const struct sender_item *items;
        int full[2], dead[2], fine[2];
        char bytes[1024] = "";
        char kilobyte[1024];

        if (sender == NULL)
                return;
        pair(full);
        pair(dead);
        pair(fine);
        while (send(full[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
                ;
        close(dead[1]);
        sender_add(sender, full[0], bytes, sizeof(bytes), NULL);
        sender_add(sender, dead[0], bytes, sizeof(bytes), NULL);
        sender_add(sender, fine[0], bytes, sizeof(bytes), NULL);
        cr_assert(eq(uint, sender_run(sender, &items), 3));
        cr_assert(eq(i32, items[0].result, -EAGAIN));
        cr_assert(eq(i32, items[1].result, -EPIPE)); /* and no SIGPIPE */
        cr_assert(eq(i32, items[2].result, sizeof(bytes)));
        /* Nothing was left behind that would be sent when there is room. */
        while (recv(full[1], kilobyte, sizeof(kilobyte), MSG_DONTWAIT) > 0)
                ;
        sender_add(sender, fine[0], bytes, 1, NULL);
        cr_assert(eq(uint, sender_run(sender, &items), 1));
        cr_assert(lt(i64, recv(full[1], kilobyte, sizeof(kilobyte), MSG_DONTWAIT), 0));
        end(sender);
}

Test(sender, forbidden_io_uring_is_no_failure_unless_it_was_insisted_on)
{
        struct sender *sender = (struct sender *)&sender;
        const char *why = NULL;

        forbid(SYS_io_uring_setup, EPERM);
        cr_assert(eq(int, sender_create(SENDER_AUTO, &sender, &why), OK));
        cr_assert(eq(ptr, sender, NULL));
        cr_assert(strstr(why, "seccomp") != NULL || strstr(why, "without liburing") != NULL);
        cr_assert(not(sender_is_open(sender)));
        sender = (struct sender *)&sender;
        cr_assert(eq(int, sender_create(SENDER_URING, &sender, &why), ERR_IO));
        cr_assert(eq(ptr, sender, (void *)&sender)); /* untouched */
}

Test(sender, send_is_what_it_says)
{
        struct sender *sender = (struct sender *)&sender;
        const char *why = NULL;

        cr_assert(eq(int, sender_create(SENDER_SEND, &sender, &why), OK));
        cr_assert(eq(ptr, sender, NULL));
        sender_begin(sender);
        sender_end(sender);
        sender_destroy(sender);
}

Test(sender, what_the_kernel_does_not_take_is_told_as_no_room_and_it_closes)
{
        struct sender *sender = begun();
        const struct sender_item *items;
        int ends[2];
        char byte;

        if (sender == NULL)
                return;
        pair(ends);
        forbid(SYS_io_uring_enter, EPERM);
        sender_add(sender, ends[0], "x", 1, NULL);
        sender_add(sender, ends[0], "y", 1, NULL);
        cr_assert(eq(uint, sender_run(sender, &items), 2));
        cr_assert(eq(i32, items[0].result, -EAGAIN));
        cr_assert(eq(i32, items[1].result, -EAGAIN));
        cr_assert(not(sender_is_open(sender)));
        cr_assert(lt(i64, recv(ends[1], &byte, 1, MSG_DONTWAIT), 0));
        end(sender);
}
