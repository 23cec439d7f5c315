/* gateway/session_input.h -- reads what a let-in device sends. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "gateway/conn.h"

struct worker;

/* SESSION: bytes that have been received already, with the request. */
void session_input_feed(struct worker *worker, struct conn *conn, const uint8_t *bytes, size_t len);
void session_input_readable(struct worker *worker, struct conn *conn);
