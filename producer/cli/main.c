/* producer/cli/main.c -- the `kickoff` command. Everything is in cli.c, where tests can reach it.
 */
#include "producer/cli/cli.h"

int main(int argc, char **argv)
{
        return cli_main(argc, argv);
}
