/* device/c/device_lws.h -- what device_link.c (WebSockets) and device_http.c (plain HTTP) share:
 * the library. Nobody else includes it. */
#pragma once

#include <libwebsockets.h>

#include "device/c/device_inside.h"

/* The library's callbacks, one for each kind of connection. */
int device_http_stream_event(struct lws *wsi, enum lws_callback_reasons event, void *user, void *in,
                             size_t len);
int device_http_fetch_event(struct lws *wsi, enum lws_callback_reasons event, void *user, void *in,
                            size_t len);
extern const char device_http_stream_protocol[], device_http_fetch_protocol[];

/* `info` for a connection of `device` to its node: address, TLS, no redirects. */
void device_link_where(const struct kickoff_device *device, struct lws_client_connect_info *info);
/* The core is told of something about this link, unless it has forgotten it. */
void device_link_feed(struct link *link, const struct device_input *input);
/* The link is over, one way or another: the core is told once. */
void device_link_end(struct link *link);
void device_link_feed_end(struct link *link, const struct device_input *input);
/* The bytes of one message; `encoding` as they came. */
void device_link_feed_bytes(struct link *link, const void *bytes, size_t len,
                            enum encoding encoding);
void device_link_feed_garbage(struct link *link, enum close_reason reason, const char *text);
void device_link_not_opened(struct link *link, const char *text, size_t len);
void device_link_note_answer(struct link *link);
/* Whole seconds of Retry-After; -1 = not said. */
int64_t device_link_retry_after(struct lws *wsi);
/* device_http.c: opens the stream for `link`. False: it could not even be begun. */
bool device_http_stream(struct link *link, const char *path);
