/* gateway/gauges.c -- reads what the kernel says about memory and descriptors. Refuses to know what
 * is done about it. */
#include "gateway/gauges.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/check.h"

/* Below this share idle file pages make no difference to the ladder, so the long file that tells
 * them apart is not read. */
#define LOOK_CLOSER 700
#define COUNT_UPTO  512 /* sockets: then counting all descriptors takes less than 0.1 ms */
#define BESIDE      64  /* descriptors that are no device's, if they were never counted */

static struct {
        _Atomic int64_t sockets;
        _Atomic uint64_t next_ms;
        _Atomic uint32_t memory; /* per mille */
        _Atomic uint32_t limit;  /* RLIMIT_NOFILE */
        _Atomic uint32_t beside; /* descriptors that are no device's, plus one; 0 = not counted */
} process;

/* --- memory ---------------------------------------------------------------------------------- */

/* The file's text, cut at size - 1. False: there is none. */
static bool read_text(const char *root, const char *path, char *text, size_t size)
{
        char whole[PATH_MAX];
        ssize_t n;
        int fd;

        if ((size_t)snprintf(whole, sizeof(whole), "%s%s", root, path) >= sizeof(whole))
                return false;
        fd = open(whole, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return false;
        n = read(fd, text, size - 1);
        close(fd);
        text[n > 0 ? n : 0] = '\0';
        return n > 0;
}

/* The number after `name` at the beginning of a line; 0: no such line. */
static uint64_t number_after(const char *text, const char *name)
{
        size_t len = strlen(name);

        for (const char *line = text; line != NULL && *line != '\0';) {
                if (strncmp(line, name, len) == 0)
                        return strtoull(line + len, NULL, 10);
                line = strchr(line, '\n');
                if (line != NULL)
                        line++;
        }
        return 0;
}

static uint32_t per_mille(uint64_t used, uint64_t of)
{
        uint64_t share = UINT32_MAX;

        if (of == 0)
                return 0;
        if (used <= UINT64_MAX / 1000) /* no machine has more */
                share = used * 1000 / of;
        return share < UINT32_MAX ? (uint32_t)share : UINT32_MAX;
}

struct hierarchy {
        const char *mount, *limit, *usage, *stat, *idle; /* idle: the row of `stat` */
};

static const struct hierarchy version_2 = { "/sys/fs/cgroup", "memory.max", "memory.current",
                                            "memory.stat", "inactive_file " };
static const struct hierarchy version_1 = { "/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                            "memory.usage_in_bytes", "memory.stat",
                                            "total_inactive_file " };

/* One group of the tree. `total`: the machine's memory; a limit beyond that is none. */
static uint32_t group_share(const char *root, const struct hierarchy *h, const char *group,
                            uint64_t total)
{
        char path[PATH_MAX], text[8192];
        uint64_t limit, usage, idle;

        snprintf(path, sizeof(path), "%s%s/%s", h->mount, group, h->limit);
        if (!read_text(root, path, text, sizeof(text)) || text[0] < '0' || text[0] > '9')
                return 0; /* "max" */
        limit = strtoull(text, NULL, 10);
        if (limit == 0 || limit > total)
                return 0;
        snprintf(path, sizeof(path), "%s%s/%s", h->mount, group, h->usage);
        if (!read_text(root, path, text, sizeof(text)))
                return 0;
        usage = strtoull(text, NULL, 10);
        if (per_mille(usage, limit) < LOOK_CLOSER)
                return per_mille(usage, limit);
        snprintf(path, sizeof(path), "%s%s/%s", h->mount, group, h->stat);
        if (!read_text(root, path, text, sizeof(text)))
                return per_mille(usage, limit);
        idle = number_after(text, h->idle);
        return per_mille(usage > idle ? usage - idle : 0, limit);
}

/* The group and all above it. In a container the path of /proc/self/cgroup may name what is not
 * mounted there; the mount's root is then the container's own group, and is the last one looked at.
 */
static uint32_t tree_share(const char *root, const struct hierarchy *h, const char *path,
                           uint64_t total)
{
        char group[PATH_MAX / 2];
        uint32_t most = 0;

        if ((size_t)snprintf(group, sizeof(group), "%s", path) >= sizeof(group))
                return 0;
        for (;;) {
                char *slash = strrchr(group, '/');
                uint32_t share;

                if (slash != NULL && slash[1] == '\0') {
                        *slash = '\0';
                        continue;
                }
                share = group_share(root, h, group, total);
                most = share > most ? share : most;
                if (slash == NULL)
                        return most;
                *slash = '\0';
        }
}

static uint32_t cgroup_share(const char *root, uint64_t total)
{
        char text[8192];
        uint32_t most = 0;

        if (!read_text(root, "/proc/self/cgroup", text, sizeof(text)))
                return 0;
        for (char *save, *line = strtok_r(text, "\n", &save); line != NULL;
             line = strtok_r(NULL, "\n", &save)) { /* number:controllers:path, cgroups(7) */
                char *controllers = strchr(line, ':'), *path;
                const struct hierarchy *h = NULL;
                uint32_t share;

                path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
                if (path == NULL)
                        continue;
                *path++ = '\0';
                controllers++;
                if (controllers[0] == '\0')
                        h = &version_2;
                for (char *rest, *name = strtok_r(controllers, ",", &rest); name != NULL;
                     name = strtok_r(NULL, ",", &rest))
                        if (strcmp(name, "memory") == 0)
                                h = &version_1;
                if (h == NULL)
                        continue;
                share = tree_share(root, h, path, total);
                most = share > most ? share : most;
        }
        return most;
}

uint32_t gauges_memory(const char *root)
{
        char text[4096];
        unsigned long long size, resident = 0;
        uint64_t total = 0;
        uint32_t own, group;

        if (read_text(root, "/proc/meminfo", text, sizeof(text)))
                total = number_after(text, "MemTotal:") * 1024;
        if (total == 0)
                return 0;
        if (!read_text(root, "/proc/self/statm", text, sizeof(text)) ||
            sscanf(text, "%llu %llu", &size, &resident) != 2)
                resident = 0;
        own = per_mille(resident * (uint64_t)sysconf(_SC_PAGESIZE), total);
        group = cgroup_share(root, total);
        return own > group ? own : group;
}

/* --- descriptors ----------------------------------------------------------------------------- */

void gauges_sockets(int64_t more)
{
        atomic_fetch_add_explicit(&process.sockets, more, memory_order_relaxed);
}

/* 0: cannot be told. */
static uint32_t count_descriptors(void)
{
        DIR *dir = opendir("/proc/self/fd");
        uint32_t n = 0;

        if (dir == NULL)
                return 0;
        while (readdir(dir) != NULL)
                n++;
        closedir(dir);
        return n > 3 ? n - 3 : 0; /* ".", "..", and the directory's own */
}

/* Most are sockets, which workers tell; the others are counted while it is cheap. */
static void look_at_descriptors(void)
{
        int64_t sockets = atomic_load_explicit(&process.sockets, memory_order_relaxed);
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
                atomic_store_explicit(&process.limit,
                                      limit.rlim_cur < UINT32_MAX ? (uint32_t)limit.rlim_cur
                                                                  : UINT32_MAX,
                                      memory_order_relaxed);
        if (sockets >= 0 && sockets < COUNT_UPTO) {
                uint32_t all = count_descriptors();

                if (all > 0)
                        atomic_store_explicit(&process.beside,
                                              1 + (all > sockets ? all - (uint32_t)sockets : 0),
                                              memory_order_relaxed);
        }
}

static uint32_t descriptor_share(void)
{
        int64_t sockets = atomic_load_explicit(&process.sockets, memory_order_relaxed);
        uint32_t beside = atomic_load_explicit(&process.beside, memory_order_relaxed);
        uint32_t limit = atomic_load_explicit(&process.limit, memory_order_relaxed);

        if (limit == 0)
                return 0;
        return (
            uint32_t)(((uint64_t)(sockets > 0 ? sockets : 0) + (beside > 0 ? beside - 1 : BESIDE)) *
                      1000 / limit);
}

/* --- both ------------------------------------------------------------------------------------ */

void gauges_read(uint64_t now_ms, struct ladder_reading *reading)
{
        uint64_t next_ms = atomic_load_explicit(&process.next_ms, memory_order_relaxed);

        if (now_ms >= next_ms &&
            atomic_compare_exchange_strong(&process.next_ms, &next_ms, now_ms + GAUGES_EVERY_MS)) {
                atomic_store_explicit(&process.memory, gauges_memory(""), memory_order_relaxed);
                look_at_descriptors();
        }
        reading->at[LADDER_MEMORY] = atomic_load_explicit(&process.memory, memory_order_relaxed);
        reading->at[LADDER_DESCRIPTORS] = descriptor_share();
}
