/* tests/sim/memo.h -- whether a run goes through the real texts. Half of the simulation's time
 * would be JSON that says the same again and again; so in most runs a record's text is a name for
 * it, and frames are empty. */
#pragma once

#include <stdbool.h>

/* A run begins. True: event_format, event_parse, message_encode_signal, message_encode_skip and
 * frame_create are what they are; false: their stand-ins, which know the events of this run only. */
void memo_begin(bool real);
