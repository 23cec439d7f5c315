# Writes IN's bytes to OUT as a C array SYMBOL[] with a closing NUL, and SYMBOL_len without it.
file(READ ${IN} hex HEX)
# Characters, not numbers: what is above 127 does not fit into a char, and compilers say so.
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
string(REGEX REPLACE "(..................................................................................................)"
    "\\1\n" bytes "${bytes}")
file(WRITE ${OUT} "#include <stddef.h>
extern const char ${SYMBOL}[];
extern const size_t ${SYMBOL}_len;
const char ${SYMBOL}[] = {
${bytes}0};
const size_t ${SYMBOL}_len = sizeof(${SYMBOL}) - 1;
")
