/* base/buf.h -- a growable byte buffer for building things: messages, pages, requests. Not for the
 * per-device path, which allocates nothing. A failed allocation is remembered (`failed`), later
 * appends do nothing, and the caller looks once at the end. Not shared between threads. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct buf {
        char *data;      /* always NUL-terminated once something was appended; NULL when empty */
        size_t len;      /* bytes, without the NUL */
        size_t capacity; /* bytes */
        bool failed;     /* out of memory at some point: data is incomplete, do not use it */
        bool fixed;      /* data is the caller's array: never grown, never freed */
};

#define BUF_INIT { NULL, 0, 0, false, false }

void buf_init(struct buf *buf);
/* Use the caller's array, for capacity-1 bytes and the NUL; what does not fit sets `failed`, and nothing
 * of it is added. For hot paths. */
void buf_init_fixed(struct buf *buf, void *array, size_t capacity);
void buf_fini(struct buf *buf);  /* frees; leaves it empty and usable */
void buf_clear(struct buf *buf); /* keeps the memory, forgets a failure */
void buf_add(struct buf *buf, const void *bytes, size_t len);
void buf_str(struct buf *buf, const char *text);
void buf_char(struct buf *buf, char c);
void buf_u64(struct buf *buf, uint64_t value); /* decimal, without printf: it is on the handshake path */
void buf_i64(struct buf *buf, int64_t value);
void buf_printf(struct buf *buf, const char *fmt, ...) printf_like(2, 3);
/* Hands the bytes (malloc'd, NUL-terminated) to the caller and leaves `buf` empty; NULL if failed.
 * Not for fixed buffers. */
char *buf_take(struct buf *buf);
