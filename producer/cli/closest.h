/* producer/cli/closest.h -- "did you mean": which of the words there are was meant. Pure. */
#pragma once

#include <stddef.h>

/* The one in `names` that `word` was probably meant to be; NULL if none is near. */
const char *closest_of(const char *word, const char *const *names, size_t n);
