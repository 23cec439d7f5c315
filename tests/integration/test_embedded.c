/* Which program becomes a node's private Redis, and what is said where there is none. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"

struct place {
        char dir[64];
        char link[96];
};

/* PATH becomes a directory in which `name` is the server that the other tests run, or, with NULL,
 * nothing is. Every Criterion test is a process of its own. */
static void only_program(struct place *place, const char *name)
{
        FILE *which = popen(
            "command -v \"${KICKOFF_REDIS_SERVER:-redis-server}\" || command -v valkey-server",
            "r");
        char program[512] = "";

        if (!which || !fgets(program, sizeof(program), which))
                give_up("no server program at all");
        pclose(which);
        program[strcspn(program, "\n")] = '\0';
        strcpy(place->dir, "/tmp/kickoff-path-XXXXXX");
        if (!mkdtemp(place->dir))
                give_up("mkdtemp");
        snprintf(place->link, sizeof(place->link), "%s/%s", place->dir, name ? name : "none");
        if (name && symlink(program, place->link) != 0)
                give_up("symlink %s", place->link);
        setenv("PATH", place->dir, 1);
        unsetenv("KICKOFF_REDIS_SERVER");
}

static void end_place(struct place *place)
{
        char lock[96];

        snprintf(lock, sizeof(lock), "%s/lock", place->dir); /* where it was a data directory */
        unlink(lock);
        unlink(place->link);
        rmdir(place->dir);
        setenv("PATH", "/usr/bin:/bin", 1); /* the harness wants a shell */
}

Test(embedded, valkey_server_serves_where_there_is_no_redis_server)
{
        struct test_node node = { 0 };
        struct place place;

        only_program(&place, "valkey-server");
        node_start(&node, NULL);
        create_event(&node, "final");
        cr_assert(node_log_has(&node, "program=valkey-server"));
        end_place(&place);
        node_end(&node);
}

Test(embedded, the_environment_names_another_program)
{
        struct test_node node = { 0 };
        struct place place;

        only_program(&place, "my-server");
        setenv("KICKOFF_REDIS_SERVER", place.link, 1);
        node_start(&node, NULL);
        cr_assert(node_log_has(&node, place.link));
        end_place(&place);
        node_end(&node);
}

Test(embedded, without_a_server_it_says_what_to_do)
{
        struct place place;

        only_program(&place, NULL);
        node_refuses("neither redis-server nor valkey-server", "--listen=127.0.0.1:0",
                     "--admin=127.0.0.1:0", "--data", place.dir, NULL);
        setenv("KICKOFF_REDIS_SERVER", "no-such-server", 1);
        node_refuses("KICKOFF_REDIS_SERVER names: no-such-server", "--listen=127.0.0.1:0",
                     "--admin=127.0.0.1:0", "--data", place.dir, NULL);
        end_place(&place);
}
