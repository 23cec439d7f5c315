/* What gauges.h reads from the kernel's files: made-up ones, below a directory of the test's own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "gateway/gauges.h"

#define MIB (1024 * 1024LL)

static char root[64];

static void put(const char *path, const char *text)
{
        char whole[512];
        FILE *file;

        snprintf(whole, sizeof(whole), "%s%s", root, path);
        for (char *at = whole + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
                *at = '\0';
                mkdir(whole, 0700);
                *at = '/';
        }
        file = fopen(whole, "w");
        cr_assert(ne(ptr, file, NULL));
        fputs(text, file);
        fclose(file);
}

static void put_number(const char *path, long long number)
{
        char text[32];

        snprintf(text, sizeof(text), "%lld\n", number);
        put(path, text);
}

/* A machine with 1,000 MiB, of which this process has `resident` pages. */
static void begin(unsigned resident)
{
        char text[128];

        strcpy(root, "/tmp/kickoff-gauges-XXXXXX");
        cr_assert(ne(ptr, mkdtemp(root), NULL));
        put("/proc/meminfo", "MemTotal:        1024000 kB\nMemFree:          1 kB\n");
        snprintf(text, sizeof(text), "99999 %u 300 1 0 1 0\n", resident);
        put("/proc/self/statm", text);
}

static void end(void)
{
        char command[128];

        snprintf(command, sizeof(command), "rm -r %s", root);
        cr_assert(zero(int, system(command)));
}

Test(gauges, without_a_group_it_is_the_share_of_the_machine)
{
        begin(500 * 256); /* pages of 4 KiB: 500 MiB */
        cr_assert(eq(u32, gauges_memory(root), 500));
        end();
}

Test(gauges, a_limit_of_version_2_counts_without_idle_file_pages)
{
        begin(10);
        put("/proc/self/cgroup", "0::/kickoff.slice/a.service\n");
        put_number("/sys/fs/cgroup/kickoff.slice/a.service/memory.max", 100 * MIB);
        put_number("/sys/fs/cgroup/kickoff.slice/a.service/memory.current", 95 * MIB);
        put("/sys/fs/cgroup/kickoff.slice/a.service/memory.stat",
            "anon 1\nfile 99\nkernel 3\ninactive_anon 7\ninactive_file 10485760\nsock 5\n");
        cr_assert(eq(u32, gauges_memory(root), 850));
        end();
}

Test(gauges, the_nearest_limit_above_counts)
{
        begin(10);
        put("/proc/self/cgroup", "0::/kickoff.slice/a.service\n");
        put("/sys/fs/cgroup/kickoff.slice/a.service/memory.max", "max\n");
        put_number("/sys/fs/cgroup/kickoff.slice/memory.max", 400 * MIB);
        put_number("/sys/fs/cgroup/kickoff.slice/memory.current", 200 * MIB);
        cr_assert(eq(u32, gauges_memory(root), 500));
        put_number("/sys/fs/cgroup/memory.max", 500 * MIB); /* a container's own root */
        put_number("/sys/fs/cgroup/memory.current", 300 * MIB);
        cr_assert(eq(u32, gauges_memory(root), 600));
        end();
}

Test(gauges, a_limit_of_version_1_counts_also_where_the_path_is_not_mounted)
{
        begin(10);
        put("/proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/docker/0123\n0::/\n");
        put_number("/sys/fs/cgroup/memory/memory.limit_in_bytes", 100 * MIB);
        put_number("/sys/fs/cgroup/memory/memory.usage_in_bytes", 90 * MIB);
        put("/sys/fs/cgroup/memory/memory.stat",
            "inactive_file 99999999\ntotal_inactive_file 10485760\n");
        cr_assert(eq(u32, gauges_memory(root), 800));
        end();
}

Test(gauges, no_limit_is_none)
{
        begin(10);
        put("/proc/self/cgroup", "4:memory:/\n0::/\n");
        put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "900000000\n");
        put("/sys/fs/cgroup/memory.max", "max\n");
        put("/sys/fs/cgroup/memory.current", "900000000\n");
        cr_assert(zero(u32, gauges_memory(root)));
        end();
}

Test(gauges, broken_files_say_nothing)
{
        static const char *const broken[] = {
                "", "\n", "::", "a:b:c:d\n", "0:", "0::\n0::/../..\n"
        };

        begin(10);
        for (unsigned i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
                put("/proc/self/cgroup", broken[i]);
                cr_assert(zero(u32, gauges_memory(root)));
        }
        put("/proc/meminfo", "MemTotal: none\n");
        cr_assert(zero(u32, gauges_memory(root)));
        end();
}

Test(gauges, this_machine_is_read)
{
        struct ladder_reading reading = { 0 };

        gauges_sockets(100);
        gauges_read(1, &reading);
        cr_assert(gt(u32, reading.at[LADDER_DESCRIPTORS], 0));
        cr_assert(lt(u32, reading.at[LADDER_DESCRIPTORS], 1000));
        cr_assert(lt(u32, reading.at[LADDER_MEMORY], 1000));
}
