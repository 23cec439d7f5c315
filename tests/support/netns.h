/* tests/support/netns.h -- networks of a test's own, so that packets can be lost and links be thin
 * without touching anybody else's. The test's process leaves the machine's network for a fresh one
 * (`home`, with nothing but a loopback), and makes further ones, each tied to home by a veth pair:
 *
 *        space 1 (10.77.1.2) ──── 10.77.1.1  home  10.77.2.1 ──── space 2 (10.77.2.2)
 *
 * Home routes between them. Nodes and devices usually live at home, a Redis in a space: it is then
 * reached through a wire that can be cut. Namespaces have no names: the kernel removes them with
 * the last process in them, and these die with the test, so nothing is left behind however it ends.
 * Needs root, or a kernel that lets users make their own user namespace; and the programs ip, nft
 * and tc. Whatever goes wrong after netns_are_available() said yes ends the test with a sentence on
 * stderr. */
#pragma once

#include <stdbool.h>

struct netns;

enum netns_direction {
        NETNS_INTO = 1,
        NETNS_OUT_OF = 2,
        NETNS_BOTH = 3
}; /* as seen from the space */

bool netns_are_available(const char **ret_why);
/* This process, which must have one thread, moves to a network of its own. Once, first. */
void netns_go_home(void);

struct netns *netns_create(unsigned index);           /* 1..200; address 10.77.<index>.2 */
void netns_destroy(struct netns *space);              /* NULL is fine */
const char *netns_address(const struct netns *space); /* "10.77.1.2" */
const char *
netns_home_address(const struct netns *space); /* home's end of that wire, "10.77.1.1" */
/* The calling thread, and what it starts from now on, is in there. For in_child hooks (whose `arg`
 * this fits) and for threads of devices. */
void netns_enter(void *space);

/* Of 100 packets on the wire between home and space, this many are lost. 100 = cut; 0 = none again.
 * Packets are dropped where they arrive, so the sender notices nothing. */
void netns_lose(struct netns *space, enum netns_direction direction, unsigned percent);
/* All packets between two spaces, both ways; home still reaches both. */
void netns_part(struct netns *a, struct netns *b);
void netns_heal(void); /* every loss and part above is over */
/* Both directions of the wire carry no more than this: "64kbit". NULL = all again. */
void netns_thin(struct netns *space, const char *rate);
