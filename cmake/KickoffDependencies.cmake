# The libraries Kickoff stands on, all of them packages of Debian 12 and 13.
find_package(PkgConfig REQUIRED)

pkg_check_modules(LIBEVENT REQUIRED IMPORTED_TARGET libevent libevent_pthreads libevent_openssl)
pkg_check_modules(HIREDIS REQUIRED IMPORTED_TARGET hiredis)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET libssl libcrypto)
pkg_check_modules(LWS REQUIRED IMPORTED_TARGET libwebsockets)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
# msgpack-c changed its library's name with version 6 (Debian 13), whose pkg-config file names a relative path.
find_path(MSGPACK_INCLUDE_DIR msgpack.h REQUIRED)
find_library(MSGPACK_LIBRARY NAMES msgpack-c msgpackc REQUIRED)
add_library(kickoff_msgpack INTERFACE)
target_include_directories(kickoff_msgpack SYSTEM INTERFACE ${MSGPACK_INCLUDE_DIR})
target_link_libraries(kickoff_msgpack INTERFACE ${MSGPACK_LIBRARY})
# Optional: without it (or with -DKICKOFF_URING=OFF) broadcasts go out by send().
if(KICKOFF_URING)
    pkg_check_modules(URING IMPORTED_TARGET liburing>=2.2)
endif()
if(KICKOFF_TESTS)
    pkg_check_modules(CRITERION REQUIRED IMPORTED_TARGET criterion)
endif()
