/* loadtest/content.h -- one event with content for every device, which they fetch either at the
 * signal or before it: what `stampede` and `spread` play one by one, and `compare` one after the
 * other. */
#pragma once

#include "loadtest/scenario.h"

must_check enum err content_run(const struct wishes *wishes, bool is_spread,
                                struct account *account);
void content_judge(struct account *account, bool is_spread);
