/* producer/cli/again.h -- what to run to ask again safely after an unknown outcome. Pure. */
#pragma once

#include "producer/cli/cli.h"

/* The command as typed plus --key, quoted for a shell; relative moments are pinned to cli->now_ms.
 */
void again_text(const struct cli *cli, struct buf *out);
