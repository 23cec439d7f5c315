/* tests/faults/cases_storage.c -- Redis' disk: full, slow, damaged. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/faults/scene.h"

/* --- 19: full --- */

/* A small file system of its own, which the kernel takes away with the case. */
static void mount_small(char dir[64])
{
        check(snprintf(dir, 64, "%s/small", getenv("TMPDIR")) < 64);
        check(mkdir(dir, 0700) == 0);
        if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("tmpfs", dir, "tmpfs", 0, "size=4m") != 0)
                skip("needs root, and leave to mount: %s", strerror(errno));
}

static void fill_up(const char *dir, size_t leave)
{
        char path[128], block[4096] = { 1 };
        struct statvfs fs;
        int fd;

        snprintf(path, sizeof(path), "%s/filler", dir);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        check(fd >= 0);
        do {
                check(write(fd, block, sizeof(block)) == sizeof(block) && statvfs(dir, &fs) == 0);
        } while (fs.f_bavail * fs.f_bsize > leave);
        close(fd);
}

static bool redis_has_ended(void *redis)
{
        return test_redis_has_ended(redis);
}

static void make_room(const char *dir)
{
        char path[128];

        snprintf(path, sizeof(path), "%s/filler", dir);
        check(unlink(path) == 0);
}

FAULT_OF(
    19, a, "Redis' disk is full, appendfsync always",
    "Redis ends itself rather than acknowledge, changes fail within 2 s; with room, it comes back with all "
    "(lines 1, 9)",
    .quick = true, .needs = NEEDS_ROOT)
{
        struct scene_options o = { 0 };
        char dir[64];
        struct scene *s;
        struct produced produced;

        mount_small(dir);
        o.redis_dir = dir;
        s = scene_open(&o);
        fill_up(dir, 64 * 1024);
        do {
                produced = produce(s->ledger, &s->nodes[0], "final", NULL);
        } while (produced.status == 200);
        wait_until(redis_has_ended, s->redis, "Redis to end itself");
        produced = produce(s->ledger, &s->nodes[0], "final", NULL);
        CHECK_KEPT(produced.status >= 500, "line 9: a change was answered %d", produced.status);
        kept_within("change_failed", (double)produced.ms, 2000, SLACK_MS);
        make_room(dir);
        test_redis_restart(s->redis);
        scene_judge(s);
        CHECK_KEPT(crew_hellos(s->crew) == crew_size(s->crew), "line 9: devices had to reconnect");
        scene_close(s);
}

FAULT_OF(
    19, b, "Redis' disk is full, appendfsync everysec (which only --durability memory takes)",
    "Redis answers MISCONF, changes fail within 2 s and without an acknowledgement; with room, they go on (line 9)",
    .quick = true, .needs = NEEDS_ROOT)
{
        static const char *const redis_arguments[] = { "--appendfsync", "everysec", NULL };
        static const char *const node_arguments[] = { "--durability", "memory", NULL };
        struct scene_options o = { .redis_arguments = redis_arguments,
                                   .node_arguments = node_arguments };
        uint64_t begin_us;
        unsigned made = 0;
        char dir[64];
        struct scene *s;
        struct produced produced;

        mount_small(dir);
        o.redis_dir = dir;
        s = scene_open(&o);
        fill_up(dir, 64 * 1024);
        do {
                produced = produce(s->ledger, &s->nodes[0], "final", NULL);
        } while (produced.status == 200 && ++made < 20000);
        figure("refused_after", "%u changes", made);
        CHECK_KEPT(produced.status == 503, "line 9: a change was answered %d", produced.status);
        kept_within("change_failed", (double)produced.ms, 2000, SLACK_MS);
        CHECK_KEPT(!test_redis_has_ended(s->redis), "Redis ended itself");
        make_room(dir);
        begin_us = scene_now_us();
        (void)produce_until(s->ledger, &s->nodes[0], "final");
        figure("writing_again", "%.0f ms", scene_ms_since(begin_us));
        scene_judge(s);
        CHECK_KEPT(crew_hellos(s->crew) == crew_size(s->crew), "line 9: devices had to reconnect");
        scene_close(s);
}

/* --- 20: slow --- */

static void set_delay(unsigned ms)
{
        char path[128], other[140];
        FILE *file;

        snprintf(path, sizeof(path), "%s/fsync_ms", getenv("TMPDIR"));
        snprintf(other, sizeof(other), "%s.new", path);
        file = fopen(other, "w");
        check(file != NULL);
        fprintf(file, "%u\n", ms);
        fclose(file);
        check(rename(other, path) == 0);
}

static void preload_slow_fsync(void *arg)
{
        char path[128];

        (void)arg;
        snprintf(path, sizeof(path), "%s/fsync_ms", getenv("TMPDIR"));
        setenv("KICKOFF_TEST_FSYNC_MS", path, 1);
        setenv("LD_PRELOAD", scene_built("preload_slow_fsync.so"), 1);
}

static uint64_t first_arrival_us(struct scene *s, const struct token *token)
{
        uint64_t first = UINT64_MAX;

        for (size_t i = 0; i < ledger_count(s->ledger); i++) {
                const struct ledger_line *line = ledger_at(s->ledger, i);

                if (line->kind == LEDGER_SIGNAL && token_equal(&line->token, token) &&
                    line->at_us < first)
                        first = line->at_us;
        }
        return first;
}

FAULT(
    20, "fsync of Redis' disk takes 1 s, then 3 s",
    "no acknowledgement and no device before the disk has it; too slow is called unknown, and the key finds out "
    "(lines 1, 2, 3)",
    .quick = true, .limit_s = 120)
{
        struct scene *s =
            scene_open(&(struct scene_options){ .redis_in_child = preload_slow_fsync });
        struct produced slow, slower, again;
        uint64_t begin_us;

        (void)produce_until(s->ledger, &s->nodes[0], "final");
        set_delay(1000);
        begin_us = scene_now_us();
        slow = produce_until(s->ledger, &s->nodes[0], "final");
        CHECK_KEPT(crew_reaches(s->crew, &slow.token, PATIENCE_MS), "line 5: a signal never came");
        figure("acknowledged_after", "%llu ms", (unsigned long long)slow.ms);
        CHECK_KEPT(scene_ms_since(begin_us) >= 1000, "the fault was not made: fsync was not slow");
        set_delay(0);
        (void)produce_until(s->ledger, &s->nodes[0],
                            "final"); /* Redis is idle now: the look-up passes, and */
        set_delay(3000);              /* the append waits for the disk */
        slower = produce_as(s->ledger, &s->nodes[0], "/v1/events/final/stage",
                            "{\"stage\":\"slow\"}", "final", "slow", "slow-key");
        CHECK_KEPT(slower.status == 504 || slower.status == 503, "line 9: a change was answered %d",
                   slower.status);
        figure("too_slow", "answered %d", slower.status);
        kept_within("answered_within", (double)slower.ms, 2000, SLACK_MS);
        set_delay(0);
        do {
                again = produce_as(s->ledger, &s->nodes[1], "/v1/events/final/stage",
                                   "{\"stage\":\"slow\"}", "final", "slow", "slow-key");
                usleep(50000);
        } while (again.status >= 500 && scene_ms_since(begin_us) < PATIENCE_MS);
        CHECK_KEPT(again.status == 200, "line 3: asked again, the key was answered %d",
                   again.status);
        scene_judge(s);
        CHECK_KEPT(first_arrival_us(s, &slow.token) >= begin_us + 1000 * 1000,
                   "line 2: a device was told before the disk had it");
        CHECK_KEPT(crew_hellos(s->crew) == crew_size(s->crew), "line 9: devices had to reconnect");
        scene_close(s);
}

/* --- 21: damaged --- */

/* The part of the append-only file that grows. */
static void find_log_file(struct scene *s, char path[256])
{
        char dir[128];
        struct dirent *entry;
        DIR *open;

        snprintf(dir, sizeof(dir), "%s/appendonlydir", test_redis_dir(s->redis));
        open = opendir(dir);
        check(open != NULL);
        path[0] = '\0';
        while ((entry = readdir(open)) != NULL)
                if (strstr(entry->d_name, ".incr.aof"))
                        snprintf(path, 256, "%s/%.100s", dir, entry->d_name);
        closedir(open);
        check(path[0]);
}

static char *read_whole(const char *path, size_t *ret_len)
{
        FILE *file = fopen(path, "r");
        struct stat stat_;
        char *text;

        check(file != NULL && fstat(fileno(file), &stat_) == 0);
        text = malloc((size_t)stat_.st_size + 1);
        check(text != NULL && fread(text, 1, (size_t)stat_.st_size, file) == (size_t)stat_.st_size);
        fclose(file);
        *ret_len = (size_t)stat_.st_size;
        return text;
}

FAULT_OF(21, a, "the tail of the append-only file is lost with an acknowledged change in it",
         "the loss is told: a new epoch, and reset for devices that knew more (lines 6, 7, 15)",
         .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ .rules.loss_may_be_told = true });
        struct produced lost;
        char path[256], *text, *last = NULL;
        size_t len;

        (void)produce_until(s->ledger, &s->nodes[0], "final");
        lost = produce_until(s->ledger, &s->nodes[0], "final");
        CHECK_KEPT(crew_reaches(s->crew, &lost.token, PATIENCE_MS), "line 5: a signal never came");
        test_redis_kill(s->redis);
        find_log_file(s, path);
        text = read_whole(path, &len);
        for (size_t i = 0; i + 4 < len; i++)
                if (memcmp(text + i, "XADD", 4) == 0)
                        last = text + i;
        check(last != NULL &&
              truncate(path, last - text + 30) == 0); /* in the midst of its transaction */
        free(text);
        test_redis_restart(s->redis);
        (void)produce_until(s->ledger, &s->nodes[0], "final");
        (void)produce_until(s->ledger, &s->nodes[1], "final");
        scene_judge(s);
        for (unsigned i = 0; i < crew_size(s->crew); i++)
                CHECK_KEPT(crew_member(s->crew, i).resets >= 2,
                           "line 6: device %u was not told that a signal it had is gone", i);
        scene_close(s);
}

FAULT_OF(
    21, b, "a byte in the middle of the append-only file is another one",
    "Redis refuses to start, devices are served from memory, changes fail; with the file mended, all is there "
    "(lines 1, 9)",
    .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ 0 });
        struct produced produced;
        char path[256], *text, good;
        size_t len, at;
        int fd;

        for (unsigned i = 0; i < 20; i++)
                (void)produce_until(s->ledger, &s->nodes[0], "final");
        test_redis_kill(s->redis);
        find_log_file(s, path);
        text = read_whole(path, &len);
        at = (size_t)((char *)memmem(text + len / 2, len / 2, "\r\n$", 3) - text) + 2; /* a '$' */
        good = text[at];
        fd = open(path, O_WRONLY | O_CLOEXEC);
        check(fd >= 0 && pwrite(fd, "?", 1, (off_t)at) == 1);
        CHECK_KEPT(!test_redis_try_restart(s->redis), "line 1: Redis started with a damaged file");
        produced = produce(s->ledger, &s->nodes[0], "final", NULL);
        CHECK_KEPT(produced.status >= 500, "line 9: a change was answered %d", produced.status);
        crew_leave(s->crew, 0);
        crew_return(s->crew, 0);
        check(pwrite(fd, &good, 1, (off_t)at) == 1);
        close(fd);
        free(text);
        test_redis_restart(s->redis);
        scene_judge(s);
        CHECK_KEPT(crew_resets(s->crew) == crew_size(s->crew), "line 9: devices were reset");
        scene_close(s);
}
