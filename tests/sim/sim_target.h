/* tests/sim/sim_target.h -- whom a simulated signal may be for, and of which sort a simulated
 * device is: few of each, so that all kinds of overlap occur. */
#pragma once

#include "proto/target.h"

#define SIM_TARGETS 6 /* 0 = everyone */

/* Made once per process; NULL for 0. */
const struct target *sim_target(unsigned number);
void sim_target_traits(unsigned device, const char *ret_traits[TRAITS]);
