/* tests/faults/cases_redis.c -- Redis dies, stands still, forgets, refuses. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/rng.h"
#include "tests/faults/scene.h"

static void nobody_reconnected(struct scene *s)
{
        CHECK_KEPT(crew_hellos(s->crew) == crew_size(s->crew), "line 9: devices had to reconnect");
        CHECK_KEPT(crew_resets(s->crew) == crew_size(s->crew), "line 9: devices were reset");
}

FAULT(
    1, "Redis is killed with kill -9 and comes back with its append-only file",
    "nothing acknowledged is lost, no device reconnects, caught up 2 s after Redis is up (lines 1, 8, 9)",
    .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ .pace_ms = 5 });
        uint64_t up_us;

        producer_until_more(s->producer, 50);
        test_redis_kill(s->redis);
        usleep(1500 * 1000); /* how long it is away */
        test_redis_restart(s->redis);
        up_us = scene_now_us();
        producer_until_more(s->producer, 1);
        kept_within("writing_again", scene_ms_since(up_us), 2000, SLACK_MS);
        producer_until_more(s->producer, 50);
        scene_judge(s);
        nobody_reconnected(s);
        scene_close(s);
}

/* What is in Redis now has reached every device. */
static bool is_level(struct scene *s)
{
        char *epoch = test_redis_ask(s->redis, "HGET", "{kickoff}:meta", "epoch", NULL);
        char *place = test_redis_ask(s->redis, "EVAL",
                                     "local m = redis.call('HMGET', KEYS[1], 'seq', 'tag') "
                                     "return m[1] .. '.' .. m[2]",
                                     "1", "{kickoff}:meta", NULL);
        uint64_t until_us = scene_now_us() + PATIENCE_MS * 1000ull;
        char text[80];
        struct token now;
        bool level = false;

        snprintf(text, sizeof(text), "%s.%s", epoch, place);
        check(token_parse(text, strlen(text), &now) == OK);
        while (!level && scene_now_us() < until_us) {
                level = true;
                for (unsigned i = 0; i < crew_size(s->crew); i++)
                        level = level && crew_member(s->crew, i).place.epoch == now.epoch &&
                                crew_member(s->crew, i).place.seq >= now.seq;
                usleep(3000);
        }
        free(epoch);
        free(place);
        return level;
}

/* Three more producers, so that most kills hit a change under way. */
FAULT_OF(
    2, a, "Redis is killed in the midst of changes, 50 times in CI, 500 times in all",
    "a change without an answer is called unknown; asked again with its key, it is one signal (lines 1, 3)",
    .quick = true, .limit_s = 900)
{
        struct scene *s = scene_open(&(struct scene_options){ .pace_ms = 1 });
        struct producer_options o = { .nodes = { &s->nodes[0], &s->nodes[1] },
                                      .event = "final",
                                      .pace_ms = 1 };
        struct producer *more[3];
        unsigned rounds = faults_thorough ? 500 : 50, unknown = 0;
        uint64_t up_us = 0;
        struct rng rng;

        rng_seed(&rng, rng_secure_u64());
        for (unsigned i = 0; i < countof(more); i++)
                more[i] = producer_start(s->ledger, &o);
        for (unsigned round = 0; round < rounds; round++) {
                producer_until_more(s->producer, 1);
                usleep((useconds_t)rng_below(&rng, 20000));
                test_redis_kill(s->redis);
                test_redis_restart(s->redis);
                up_us = scene_now_us();
        }
        /* In between Redis lives for no longer than it takes one of two nodes to write again, so a
         * node's links to it may meet one short life after the other, and miss them all. */
        CHECK_KEPT(is_level(s), "line 8: devices are behind");
        kept_within("caught_up_after_the_last", scene_ms_since(up_us), 2000, SLACK_MS);
        for (unsigned i = 0; i < countof(more); i++) {
                producer_until_more(more[i], 1);
                unknown += producer_unknown(more[i]);
                producer_stop(more[i]);
        }
        figure("kills", "%u, of which %u or more met a change under way", rounds, unknown);
        CHECK_KEPT(unknown > 0, "the fault was not made: no kill met a change under way");
        scene_judge(s);
        nobody_reconnected(s);
        scene_close(s);
}

/* Not promised as such: with links that come back at random moments, how long until all that a node
 * needs to follow are up in the same life. Five seconds are ten lives. */
FAULT_OF(2, b, "Redis is killed every half second, 20 times in CI, 60 times in all",
         "what is acknowledged in one life reaches every device within a few of them (lines 5, 8)",
         .quick = true, .limit_s = 180)
{
        struct scene *s = scene_open(&(struct scene_options){ .pace_ms = 20 });

        for (unsigned round = 0; round < (faults_thorough ? 60u : 20u); round++) {
                usleep(500 * 1000);
                test_redis_kill(s->redis);
                test_redis_restart(s->redis);
        }
        scene_judge(s);
        kept_within("longest_lag", ledger_lag_ms(s->ledger, 100), 5000, SLACK_MS);
        nobody_reconnected(s);
        scene_close(s);
}

static void stand_still(struct scene *s, unsigned seconds)
{
        uint64_t begin_us = scene_now_us(), left_us;
        struct produced produced;

        test_redis_pause(s->redis);
        produced = produce(s->ledger, &s->nodes[0], "final", NULL);
        if (seconds >= 3) {
                char name[32];

                CHECK_KEPT(produced.status >= 500, "line 9: a change was answered %d",
                           produced.status);
                snprintf(name, sizeof(name), "change_failed_%us", seconds);
                kept_within(name, (double)produced.ms, 2000, SLACK_MS);
                wait_until(scene_node_is_not_ready, &s->nodes[0], "readiness to tell");
                snprintf(name, sizeof(name), "not_ready_%us", seconds);
                kept_within(name, scene_ms_since(begin_us), 2000, SLACK_MS);
                crew_leave(s->crew, 0); /* a resume from memory, at a node without Redis */
                crew_return(s->crew, 0);
                CHECK_KEPT(crew_member(s->crew, 0).recovered > 0, "line 9: no resume from memory");
        }
        left_us = (uint64_t)(scene_ms_since(begin_us) * 1000);
        if (left_us < seconds * 1000000ull)
                usleep((useconds_t)(seconds * 1000000ull - left_us));
        test_redis_resume(s->redis);
        begin_us = scene_now_us();
        (void)produce_until(s->ledger, &s->nodes[1], "final");
        figure("writing_again", "%.0f ms", scene_ms_since(begin_us));
}

FAULT(
    3, "Redis stands still (SIGSTOP) for 1, 5 and 30 s (1 and 5 s in CI)",
    "changes fail and readiness tells within 2 s, devices resume from memory, then all goes on (lines 8, 9)",
    .quick = true, .limit_s = 120)
{
        struct scene *s = scene_open(&(struct scene_options){ 0 });

        stand_still(s, 1);
        stand_still(s, 5);
        if (faults_thorough)
                stand_still(s, 30);
        scene_judge(s);
        CHECK_KEPT(crew_resets(s->crew) == crew_size(s->crew), "line 9: devices were reset");
        scene_close(s);
}

static unsigned count_in(const char *dir, const char *name, const char *text)
{
        char path[256], line[1024];
        unsigned n = 0;
        FILE *file;

        snprintf(path, sizeof(path), "%s/%s", dir, name);
        file = fopen(path, "r");
        while (file && fgets(line, sizeof(line), file))
                n += strstr(line, text) != NULL;
        if (file)
                fclose(file);
        return n;
}

FAULT(14,
      "Redis closes a subscriber whose output buffer is full: a node stands still during a burst",
      "the node comes back, fills the gap from the log, and its devices miss nothing (lines 4, 5)",
      .quick = true, .limit_s = 120)
{
        static const char *const arguments[] = {
                "--client-output-buffer-limit", "pubsub", "64kb", "64kb", "1", NULL
        };
        struct scene *s = scene_open(&(struct scene_options){ .redis_arguments = arguments });
        unsigned closed = 0, burst = 0;

        kill(s->nodes[1].pid, SIGSTOP);
        while (closed == 0 && burst < 8000) {
                for (unsigned i = 0; i < 100; i++, burst++)
                        (void)produce_until(s->ledger, &s->nodes[0], "final");
                closed = count_in(test_redis_dir(s->redis), "redis.log", "output buffer limits");
        }
        kill(s->nodes[1].pid, SIGCONT);
        figure("burst", "%u signals", burst);
        CHECK_KEPT(closed > 0, "the fault was not made: Redis did not close the subscriber");
        scene_judge(s);
        CHECK_KEPT(crew_resets(s->crew) == crew_size(s->crew),
                   "line 5: devices were reset within retention");
        CHECK_KEPT(scene_log_count(&s->nodes[1], "REDIS-DOWN") > 0,
                   "line 8: the node did not say so");
        scene_close(s);
}

FAULT(22,
      "the log is trimmed to 10 entries while a device is away for 20, and the node is a new one",
      "the device is reset as trimmed, with the whole state, and not sent a part (line 6)",
      .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ .n_nodes = 1 });
        struct crew_member back;

        crew_leave(s->crew, 0);
        for (unsigned i = 0; i < 20; i++)
                (void)produce_until(s->ledger, &s->nodes[0], "final");
        test_redis_do(s->redis, "XTRIM", "{kickoff}:log", "MAXLEN", "10", NULL);
        node_stop(&s->nodes[0], SIGTERM);
        scene_start_node(s, 0);
        CHECK_KEPT(crew_is_connected(s->crew, PATIENCE_MS), "devices did not come back");
        crew_return(s->crew, 0);
        scene_judge(s);
        back = crew_member(s->crew, 0);
        CHECK_KEPT(back.resets == 2 && back.last_reset == RESET_TRIMMED,
                   "line 6: the device had %u resets, the last as %s", back.resets,
                   reset_reason_name[back.last_reset]);
        CHECK_KEPT(back.recovered == 0,
                   "line 6: the device was told that it lost nothing, and then reset");
        CHECK_KEPT(crew_member(s->crew, 1).resets == 1,
                   "line 5: a device that had all was reset by the new node");
        scene_close(s);
}

FAULT(23, "Redis loses its functions, or has older ones of the same version (FUNCTION FLUSH, LOAD)",
      "the node loads them again, and the change under way is made (lines 3, 9)", .quick = true)
{
        static const char older[] =
            "#!lua name=kickoff1\n"
            "redis.register_function('kickoff1_old', function() return 1 end)";
        struct scene *s = scene_open(&(struct scene_options){ 0 });
        struct produced produced;

        test_redis_do(s->redis, "FUNCTION", "FLUSH", NULL);
        produced = produce(s->ledger, &s->nodes[0], "final", NULL);
        CHECK_KEPT(produced.status == 200, "line 9: after a flush, a change was answered %d",
                   produced.status);
        test_redis_do(s->redis, "FUNCTION", "FLUSH", NULL);
        test_redis_do(s->redis, "FUNCTION", "LOAD", older, NULL);
        produced = produce(s->ledger, &s->nodes[1], "final", NULL);
        CHECK_KEPT(produced.status == 200,
                   "line 9: with an older library, a change was answered %d", produced.status);
        scene_judge(s);
        nobody_reconnected(s);
        scene_close(s);
}

/* --- 24: what Redis says instead of an answer --- */

/* A connection that stays: some of these faults keep out every new one. */
static int open_line(struct scene *s)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", test_redis_socket(s->redis));
        check(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
        return fd;
}

static void say(int fd, const char *command)
{
        char answer[512];
        ssize_t n;

        dprintf(fd, "%s\r\n", command);
        n = recv(fd, answer, sizeof(answer) - 1, 0);
        check(n > 0);
        answer[n] = '\0';
        if (answer[0] == '-')
                give_up("Redis says to %s: %s", command, answer);
}

/* While Redis refuses, changes fail in time; when it has stopped, one is made. */
static void refuses(struct scene *s, const char *what)
{
        struct produced produced = produce(s->ledger, &s->nodes[0], "final", NULL);
        char name[48];

        CHECK_KEPT(produced.status >= 500, "line 9: with %s, a change was answered %d", what,
                   produced.status);
        snprintf(name, sizeof(name), "%s_failed", what);
        kept_within(name, (double)produced.ms, 2000, SLACK_MS);
        CHECK_KEPT(crew_is_connected(s->crew, 0), "line 9: with %s, devices lost their connections",
                   what);
}

static void goes_on(struct scene *s, const char *what)
{
        uint64_t begin_us = scene_now_us();

        (void)produce_until(s->ledger, &s->nodes[0], "final");
        figure(what, "healed in %.0f ms", scene_ms_since(begin_us));
}

FAULT_OF(24, a, "Redis answers OOM to writes",
         "the change is refused as not done, and made after it (lines 3, 9)", .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ .n_nodes = 1 });

        test_redis_do(s->redis, "CONFIG", "SET", "maxmemory", "1", NULL);
        refuses(s, "OOM");
        test_redis_do(s->redis, "CONFIG", "SET", "maxmemory", "0", NULL);
        goes_on(s, "OOM");
        scene_judge(s);
        nobody_reconnected(s);
        scene_close(s);
}

FAULT_OF(24, b, "Redis answers BUSY for 4 s: somebody's script does not end",
         "changes fail within 2 s, devices stay, then all goes on (line 9)", .quick = true)
{
        static const char *const arguments[] = { "--busy-reply-threshold", "100", NULL };
        struct scene *s =
            scene_open(&(struct scene_options){ .n_nodes = 1, .redis_arguments = arguments });
        pid_t parent = getpid(), pid = fork();
        uint64_t begin_us = scene_now_us();

        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() == parent)
                        free(test_redis_ask(s->redis, "EVAL", "while true do end", "0", NULL));
                _exit(0);
        }
        usleep(300 * 1000);
        refuses(s, "BUSY");
        while (scene_ms_since(begin_us) < 4000)
                usleep(10000);
        test_redis_do(s->redis, "SCRIPT", "KILL", NULL);
        waitpid(pid, NULL, 0);
        goes_on(s, "BUSY");
        scene_judge(s);
        nobody_reconnected(s);
        scene_close(s);
}

FAULT_OF(24, c, "Redis wants a password all of a sudden, and closes the links",
         "changes fail within 2 s, devices stay, then all goes on (line 9)", .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ .n_nodes = 1 });
        int line = open_line(s);

        say(line, "CONFIG SET requirepass x");
        say(line, "CLIENT KILL TYPE normal");
        say(line, "CLIENT KILL TYPE pubsub");
        wait_until(scene_node_is_not_ready, &s->nodes[0], "readiness to tell");
        refuses(s, "NOAUTH");
        say(line, "CONFIG SET requirepass \"\"");
        goes_on(s, "NOAUTH");
        close(line);
        scene_judge(s);
        nobody_reconnected(s);
        scene_close(s);
}

FAULT_OF(24, d, "Redis has no room for clients",
         "changes fail within 2 s, devices stay, then all goes on (line 9)", .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ .n_nodes = 1 });
        int line = open_line(s);

        say(line, "CONFIG SET maxclients 1");
        say(line, "CLIENT KILL TYPE normal");
        say(line, "CLIENT KILL TYPE pubsub");
        wait_until(scene_node_is_not_ready, &s->nodes[0], "readiness to tell");
        refuses(s, "maxclients");
        say(line, "CONFIG SET maxclients 1000");
        goes_on(s, "maxclients");
        close(line);
        scene_judge(s);
        nobody_reconnected(s);
        scene_close(s);
}

FAULT_OF(24, e, "Redis answers NOPERM: the user lost its right to call functions",
         "changes fail within 2 s, devices stay, then all goes on (line 9)", .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ .n_nodes = 1 });

        test_redis_do(s->redis, "ACL", "SETUSER", "default", "-fcall", "-fcall_ro", NULL);
        refuses(s, "NOPERM");
        test_redis_do(s->redis, "ACL", "SETUSER", "default", "+fcall", "+fcall_ro", NULL);
        goes_on(s, "NOPERM");
        scene_judge(s);
        nobody_reconnected(s);
        scene_close(s);
}

/* 3,000 keys at 1 ms each; Redis answers LOADING meanwhile. test_redis_restart waits until it is
 * over. */
FAULT_OF(24, f, "Redis answers LOADING for 3 s after a restart",
         "changes fail, devices stay, then all goes on (line 9)", .quick = true)
{
        static const char *const arguments[] = { "--key-load-delay", "1000",
                                                 "--loading-process-events-interval-bytes", "1024",
                                                 NULL };
        struct scene *s =
            scene_open(&(struct scene_options){ .n_nodes = 1, .redis_arguments = arguments });
        uint64_t begin_us;
        char *text;

        test_redis_do(s->redis, "EVAL", "for i = 1, 3000 do redis.call('SET', 'k' .. i, 'v') end",
                      "0", NULL);
        test_redis_do(s->redis, "BGREWRITEAOF", NULL);
        do {
                usleep(20000);
                text = test_redis_ask(s->redis, "INFO", "persistence", NULL);
        } while (!strstr(text, "aof_rewrite_in_progress:0") && (free(text), true));
        free(text);
        begin_us = scene_now_us();
        test_redis_restart(s->redis);
        figure("loading", "%.0f ms", scene_ms_since(begin_us));
        goes_on(s, "LOADING");
        scene_judge(s);
        nobody_reconnected(s);
        scene_close(s);
}
