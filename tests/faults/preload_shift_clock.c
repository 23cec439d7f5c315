/* tests/faults/preload_shift_clock.c -- preloaded into kickoffd: its wall clock is off by as many
 * milliseconds as the first eight bytes of the file named by KICKOFF_TEST_CLOCK say at that moment.
 * The monotonic clock is left alone. Goes to the kernel by itself, so that it can stand before a
 * sanitizer's own wrappers. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *shift_ms; /* NULL = none, or not yet */

__attribute__((constructor)) static void open_shift(void)
{
        const char *path = getenv("KICKOFF_TEST_CLOCK");
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *page;

        if (fd < 0)
                return;
        page = mmap(NULL, sizeof(*shift_ms), PROT_READ, MAP_SHARED, fd, 0);
        if (page != MAP_FAILED)
                shift_ms = page;
        close(fd);
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
        int result = (int)syscall(SYS_clock_gettime, id, ts);
        int64_t ns;

        if (result != 0 || !shift_ms || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
                return result;
        ns = (int64_t)ts->tv_sec * 1000000000 + ts->tv_nsec + *shift_ms * 1000000;
        ts->tv_sec = (time_t)(ns / 1000000000);
        ts->tv_nsec = (long)(ns % 1000000000);
        return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
        struct timespec ts;

        (void)zone;
        if (clock_gettime(CLOCK_REALTIME, &ts) != 0)
                return -1;
        tv->tv_sec = ts.tv_sec;
        tv->tv_usec = ts.tv_nsec / 1000;
        return 0;
}

time_t time(time_t *ret)
{
        struct timespec ts;

        clock_gettime(CLOCK_REALTIME, &ts);
        if (ret)
                *ret = ts.tv_sec;
        return ts.tv_sec;
}
