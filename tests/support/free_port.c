/* tests/support/free_port.c -- see the header. */
#include "tests/support/free_port.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"

enum { FIRST = 12000, PORTS = 18000, FOR_A_PROCESS = 61 };

static bool is_free(uint16_t port)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                       .sin_port = htons(port) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool bound;

        check(fd >= 0);
        bound = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
        close(fd);
        return bound;
}

uint16_t test_free_port(void)
{
        static pid_t drawn_by; /* a test is a fork, with what its parent had drawn */
        static unsigned next;

        if (drawn_by != getpid()) {
                drawn_by = getpid();
                next = (unsigned)drawn_by * FOR_A_PROCESS % PORTS;
        }
        for (unsigned tried = 0; tried < PORTS; tried++) {
                uint16_t port = (uint16_t)(FIRST + next);

                next = (next + 1) % PORTS;
                if (is_free(port))
                        return port;
        }
        check(!"no port is free between 12000 and 30000");
        return 0;
}
