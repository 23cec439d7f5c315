/* tests/sim/sim_producer.h -- one producer: gives commands through any node, asks again with the
 * same key when it was not told what came of it, and sometimes is impatient (twice at once) or
 * careless (the same key for something else). With a copy of writer.c's steps around the real event
 * rules. */
#pragma once

#include "tests/sim/world.h"

struct producer;

struct producer *sim_producer_create(struct world *world, unsigned index);
void sim_producer_destroy(struct producer *producer);
