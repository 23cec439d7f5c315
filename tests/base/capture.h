/* tests/base/capture.h -- what a call writes to stdout or stderr, as a text. For the tests of log
 * and option, which talk to people. */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"

struct capture {
        int fd, saved, to;
};

static inline struct capture capture_begin(int fd)
{
        struct capture capture = { .fd = fd };

        fflush(NULL);
        capture.saved = dup(fd);
        capture.to = memfd_create("capture", 0);
        /* Appending, or two threads' lines could land on the same offset. */
        check(fcntl(capture.to, F_SETFL, O_APPEND) == 0);
        check(capture.saved >= 0 && capture.to >= 0 && dup2(capture.to, fd) == fd);
        return capture;
}

/* malloc'd */
static inline char *capture_end(struct capture *capture)
{
        char *text;
        off_t len;

        fflush(NULL);
        len = lseek(capture->to, 0, SEEK_END);
        text = calloc(1, (size_t)len + 1);
        check(text != NULL && pread(capture->to, text, (size_t)len, 0) == len);
        check(dup2(capture->saved, capture->fd) == capture->fd);
        close(capture->saved);
        close(capture->to);
        return text;
}
