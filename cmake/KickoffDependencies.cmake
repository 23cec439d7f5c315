# The libraries Kickoff stands on, all of them packages of Debian 12 and 13.
find_package(PkgConfig REQUIRED)

pkg_check_modules(LIBEVENT REQUIRED IMPORTED_TARGET libevent libevent_pthreads)
pkg_check_modules(HIREDIS REQUIRED IMPORTED_TARGET hiredis)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET libcrypto)
pkg_check_modules(LWS REQUIRED IMPORTED_TARGET libwebsockets)
# msgpack-c changed the name of its pkg-config file with version 5 (Debian 13 has 6).
pkg_search_module(MSGPACK REQUIRED IMPORTED_TARGET msgpack-c msgpack)
if(KICKOFF_TESTS)
    pkg_check_modules(CRITERION REQUIRED IMPORTED_TARGET criterion)
endif()
