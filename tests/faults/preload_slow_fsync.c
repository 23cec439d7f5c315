/* tests/faults/preload_slow_fsync.c -- preloaded into redis-server: fsync and fdatasync take as
 * many milliseconds longer as the file named by KICKOFF_TEST_FSYNC_MS says at that moment. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void dawdle(void)
{
        const char *path = getenv("KICKOFF_TEST_FSYNC_MS");
        char text[16] = "";
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

        if (fd < 0)
                return;
        if (read(fd, text, sizeof(text) - 1) > 0)
                usleep((useconds_t)atoi(text) * 1000);
        close(fd);
}

int fdatasync(int fd)
{
        dawdle();
        return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
        dawdle();
        return (int)syscall(SYS_fsync, fd);
}
