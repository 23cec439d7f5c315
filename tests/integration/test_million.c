/* loadtest/million in small: it proves what it says when all is well, fails when a device is lost,
 * says what to change where it cannot work, and leaves nothing behind, however it ends. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/integration/harness.h"

#define NODES   2
#define DEVICES 50

static char dir[64], json[128], output[128];

static void make_dir(void)
{
        snprintf(dir, sizeof(dir), "/tmp/kickoff-test-million-XXXXXX");
        cr_assert(mkdtemp(dir) != NULL);
        snprintf(json, sizeof(json), "%s/result.json", dir);
        snprintf(output, sizeof(output), "%s/output", dir);
}

static pid_t begin(const char *option, const char *value)
{
        const char *bin = getenv("KICKOFF_BIN_DIR");
        pid_t pid = fork();

        cr_assert(ge(int, pid, 0));
        if (pid != 0)
                return pid;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("TMPDIR", dir, 1); /* its nodes live in there */
        dup2(open(output, O_WRONLY | O_CREAT, 0600), 1);
        dup2(1, 2);
        execlp("python3", "python3", KICKOFF_SOURCE_DIR "/loadtest/million", "--bin",
               bin != NULL ? bin : KICKOFF_BIN_DIR, "--nodes=2", "--devices=50", "--kill=1",
               "--ack-spread=100ms", "--quiet", "--json", json, option, value, NULL);
        _exit(127);
}

static int end(pid_t pid)
{
        int status;

        cr_assert(eq(int, waitpid(pid, &status, 0), pid));
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static char *read_output(void)
{
        static char text[65536];
        FILE *file = fopen(output, "re");
        size_t n = file != NULL ? fread(text, 1, sizeof(text) - 1, file) : 0;

        if (file != NULL)
                fclose(file);
        text[n] = '\0';
        return text;
}

static json_t *read_json(void)
{
        json_error_t error;
        json_t *root = json_load_file(json, 0, &error);

        cr_assert(root != NULL, "%s; it said: %s", error.text, read_output());
        return root;
}

/* Its nodes' command lines name its directory. */
static unsigned processes_left(void)
{
        const struct dirent *entry;
        DIR *list = opendir("/proc");
        unsigned n = 0;

        while ((entry = readdir(list)) != NULL) {
                char path[300], line[4096];
                size_t len;
                FILE *file;

                snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
                file = fopen(path, "re");
                if (file == NULL)
                        continue;
                len = fread(line, 1, sizeof(line), file);
                n += memmem(line, len, dir, strlen(dir)) != NULL;
                fclose(file);
        }
        closedir(list);
        return n;
}

static void remove_dir(void)
{
        cr_assert(zero(uint, processes_left()), "it leaves processes behind");
        unlink(json);
        unlink(output);
        cr_assert(zero(int, rmdir(dir)), "it left something in %s", dir);
}

static int number(const json_t *root, const char *a, const char *b, const char *c)
{
        const json_t *value = json_object_get(json_object_get(json_object_get(root, a), b), c);

        cr_assert(value != NULL && json_is_number(value), "no %s.%s.%s", a, b, c);
        return (int)json_number_value(value);
}

static unsigned not_kept(const json_t *side)
{
        json_t *judgements = json_object_get(side, "judgements"), *one;
        unsigned n = 0;
        size_t i;

        cr_assert(ge(sz, json_array_size(judgements), 4));
        json_array_foreach(judgements, i, one) n += !json_is_true(json_object_get(one, "kept"));
        return n;
}

Test(million, proves_that_all_were_told_and_came_back)
{
        json_t *root;
        int status;

        make_dir();
        status = end(begin("--timeout", "60"));
        cr_assert(eq(int, status, 0), "ended with %d: %s", status, read_output());
        root = read_json();
        cr_assert(zero(uint, not_kept(json_object_get(root, "kickoffd"))));
        cr_assert(zero(uint, not_kept(json_object_get(root, "floor"))), "the same herd, the floor");
        cr_assert(eq(int, number(root, "kickoffd", "herd", "told"), NODES *DEVICES));
        cr_assert(eq(int, number(root, "kickoffd", "herd", "lost"), 0));
        cr_assert(eq(int, number(root, "floor", "herd", "told"), NODES *DEVICES));
        cr_assert(eq(int, number(root, "kickoffd", "storm", "struck"), DEVICES));
        cr_assert(eq(int, number(root, "kickoffd", "storm", "recovered"), DEVICES));
        cr_assert(eq(int, number(root, "kickoffd", "storm", "reset"), 0));
        cr_assert(strstr(read_output(), "| all connected, s |") != NULL);
        json_decref(root);
        remove_dir();
}

Test(million, fails_when_a_device_is_lost)
{
        json_t *root, *report;
        int status;

        make_dir();
        status = end(begin("--lose=1", "--timeout=3"));
        cr_assert(eq(int, status, 1), "ended with %d: %s", status, read_output());
        root = read_json();
        cr_assert(gt(uint, not_kept(json_object_get(root, "kickoffd")), 0));
        cr_assert(zero(uint, not_kept(json_object_get(root, "floor"))));
        cr_assert(eq(int, number(root, "kickoffd", "herd", "told"), NODES *DEVICES - 1));
        report = json_object_get(json_object_get(json_object_get(root, "kickoffd"), "reports"),
                                 "the start");
        cr_assert(eq(int, (int)json_integer_value(json_object_get(report, "written")),
                     NODES *DEVICES - 1),
                  "both ends count the same");
        cr_assert(strstr(read_output(), "\nFAILED") != NULL);
        json_decref(root);
        remove_dir();
}

Test(million, says_what_to_change_where_it_cannot_work)
{
        make_dir();
        cr_assert(eq(int, end(begin("--devices", "1000000000")), 2));
        cr_assert(strstr(read_output(), "give --devices") != NULL, "it said: %s", read_output());
        cr_assert(strstr(read_output(), "GB of memory are needed") != NULL);
        remove_dir();
}

static bool has_begun(void *arg)
{
        (void)arg;
        return strstr(read_output(), "devices connect to") != NULL;
}

Test(million, takes_everything_with_it_when_it_is_ended)
{
        pid_t pid;

        make_dir();
        pid = begin("--timeout", "60");
        wait_until(has_begun, NULL, "devices to connect");
        kill(pid, SIGTERM);
        cr_assert(eq(int, end(pid), 1));
        cr_assert(strstr(read_output(), "interrupted") != NULL, "it said: %s", read_output());
        remove_dir();
}
