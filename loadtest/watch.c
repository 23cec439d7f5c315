/* loadtest/watch.c -- see watch.h. Processor time is summed up from the scheduler's account of each
 * thread, in ns: /proc/PID/stat counts in hundredths of a second, too coarse for tenths. */
#include "loadtest/watch.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

void watch_fini(struct watch *watch)
{
        for (unsigned i = 0; i < watch->n; i++)
                free(watch->processes[i].points);
        *watch = (struct watch){ 0 };
}

int watch_add(struct watch *watch, const char *name, pid_t pid)
{
        struct watch_process *process;

        if (watch->n == WATCH_MAX)
                return -1;
        process = &watch->processes[watch->n];
        *process = (struct watch_process){ .pid = pid, .stride = 1 };
        snprintf(process->name, sizeof(process->name), "%s", name);
        return (int)watch->n++;
}

void watch_set(struct watch *watch, unsigned i, pid_t pid)
{
        struct watch_process *process = &watch->processes[i];

        if (process->pid == pid)
                return;
        process->pid = pid;
        process->cpu_at_us = 0;
}

static bool read_numbers(const char *path, unsigned long long *first, unsigned long long *second)
{
        FILE *file = fopen(path, "re");
        bool is_good;

        if (file == NULL)
                return false;
        is_good = fscanf(file, "%llu %llu", first, second) == 2;
        fclose(file);
        return is_good;
}

static bool read_cpu(pid_t pid, uint64_t *ret_ns)
{
        unsigned long long ran, waited;
        const struct dirent *entry;
        uint64_t sum = 0;
        char path[320];
        DIR *dir;

        snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
        dir = opendir(path);
        if (dir == NULL)
                return false;
        while ((entry = readdir(dir)) != NULL) {
                snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)pid, entry->d_name);
                if (entry->d_name[0] != '.' && read_numbers(path, &ran, &waited))
                        sum += ran;
        }
        closedir(dir);
        *ret_ns = sum;
        return true;
}

static void halve(struct watch_process *process)
{
        for (size_t i = 0; i < process->n / 2; i++) {
                const struct watch_point *a = &process->points[2 * i], *b = a + 1;

                process->points[i] =
                    (struct watch_point){ b->s, (a->cores + b->cores) / 2,
                                          a->bytes > b->bytes ? a->bytes : b->bytes };
        }
        process->n /= 2;
        process->stride *= 2;
}

static void add_point(struct watch_process *process, const struct watch_point *point)
{
        if (++process->skipped < process->stride)
                return;
        process->skipped = 0;
        if (process->n == WATCH_POINTS_MAX)
                halve(process);
        if (process->n == process->capacity) {
                size_t capacity = process->capacity == 0 ? 256 : 2 * process->capacity;
                struct watch_point *points =
                    realloc(process->points, capacity * sizeof(*process->points));

                if (points == NULL)
                        return;
                process->points = points;
                process->capacity = capacity;
        }
        process->points[process->n++] = *point;
}

static void sample_one(struct watch_process *process, double s)
{
        uint64_t now_us = clock_mono_us(), ns = 0, before_us = process->cpu_at_us;
        struct watch_point point = { .s = s };
        unsigned long long size, resident;
        char path[64];

        snprintf(path, sizeof(path), "/proc/%d/statm", (int)process->pid);
        if (process->pid == 0 || !read_numbers(path, &size, &resident) || resident == 0 ||
            !read_cpu(process->pid, &ns))
                return; /* gone, or going: a gap in the line */
        point.bytes = (double)resident * (double)sysconf(_SC_PAGESIZE);
        if (before_us != 0 && now_us > before_us && ns >= process->cpu_ns)
                point.cores = (double)(ns - process->cpu_ns) / 1e3 / (double)(now_us - before_us);
        process->cpu_ns = ns;
        process->cpu_at_us = now_us;
        if (before_us != 0)
                add_point(process, &point);
}

void watch_sample(struct watch *watch, double s)
{
        for (unsigned i = 0; i < watch->n; i++)
                sample_one(&watch->processes[i], s);
}

double watch_slope(const struct watch_process *process, double from_s)
{
        double n = 0, s = 0, b = 0, ss = 0, sb = 0, spread;

        for (size_t i = 0; i < process->n; i++) {
                double x = process->points[i].s - from_s, y = process->points[i].bytes;

                if (x < 0)
                        continue;
                n++;
                s += x;
                b += y;
                ss += x * x;
                sb += x * y;
        }
        spread = n * ss - s * s;
        return n < 3 || spread <= 0 ? 0 : (n * sb - s * b) / spread * 60;
}
