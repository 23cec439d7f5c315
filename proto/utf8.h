/* proto/utf8.h -- is this text UTF-8 (RFC 3629)? Whole, or in pieces as they arrive: overlong
 * forms, surrogates and code points above U+10FFFF are refused at the first byte that gives them
 * away. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UTF8_START 0u /* state before the first byte, and after each whole character */

/* False at the first byte that no UTF-8 text could have here; *state is then of no use. A text may
 * end only where *state is UTF8_START. */
bool utf8_feed(uint32_t *state, const void *bytes, size_t len);
bool utf8_is_valid(const void *bytes, size_t len);
