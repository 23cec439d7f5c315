/* tests/support/free_port.h -- a TCP port of 127.0.0.1 for a server that must be told its own. */
#pragma once

#include <stdint.h>

/* One on which nobody listens now, and which stays so until the server's bind: it is from below
 * those that the kernel gives to who connects (net.ipv4.ip_local_port_range begins at 32768), none
 * is drawn twice by one process, and processes of a test run that are neighbours by their ids draw
 * from different parts. Any thread that is alone in drawing. Dies if there is none. */
uint16_t test_free_port(void);
