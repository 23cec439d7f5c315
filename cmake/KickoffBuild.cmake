# How every part of Kickoff is compiled, and the three functions that the folders use:
#   kickoff_library(NAME DEPENDS ...)   every .c file of the folder but main.c -> libkickoff_NAME.a
#   kickoff_program(NAME SOURCES ... DEPENDS ...)  -> build/<preset>/bin/NAME
#   kickoff_embed(TARGET FILE SYMBOL)   the file's bytes as `const char SYMBOL[]` in TARGET
# Sources are globbed so that adding a file is adding a file.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
find_package(Threads REQUIRED)

add_library(kickoff_flags INTERFACE)
target_include_directories(kickoff_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(kickoff_flags INTERFACE _GNU_SOURCE KICKOFF_VERSION="${PROJECT_VERSION}")
target_compile_options(kickoff_flags INTERFACE
    -fno-strict-aliasing -fstack-protector-strong -fno-omit-frame-pointer
    $<$<CONFIG:Debug>:-g3 -O1>
    $<$<CONFIG:Release>:-g -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2>)
target_link_libraries(kickoff_flags INTERFACE Threads::Threads m)
if(KICKOFF_SANITIZE)
    target_compile_options(kickoff_flags INTERFACE
        -fsanitize=${KICKOFF_SANITIZE} -fno-sanitize-recover=undefined)
    target_link_options(kickoff_flags INTERFACE -fsanitize=${KICKOFF_SANITIZE})
endif()
if(KICKOFF_FUZZ)
    target_compile_options(kickoff_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Our own code is held to these; tests, whose macros come from Criterion, to the gentler set.
set(KICKOFF_WARNINGS -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
    -Wpointer-arith -Wwrite-strings -Wundef -Wvla -Wformat=2)
set(KICKOFF_TEST_WARNINGS -Wall -Wextra)
if(KICKOFF_WERROR)
    list(APPEND KICKOFF_WARNINGS -Werror)
    list(APPEND KICKOFF_TEST_WARNINGS -Werror)
endif()

function(kickoff_library name)
    cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
    list(FILTER sources EXCLUDE REGEX "/main\\.c$")
    if(NOT sources)
        # A folder whose code has not been written yet still has a place in the order.
        add_library(kickoff_${name} INTERFACE)
        target_link_libraries(kickoff_${name} INTERFACE kickoff_flags ${ARG_DEPENDS})
        return()
    endif()
    add_library(kickoff_${name} STATIC ${sources})
    target_compile_options(kickoff_${name} PRIVATE ${KICKOFF_WARNINGS})
    target_link_libraries(kickoff_${name} PUBLIC kickoff_flags ${ARG_DEPENDS})
endfunction()

function(kickoff_program name)
    cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_compile_options(${name} PRIVATE ${KICKOFF_WARNINGS})
    target_link_libraries(${name} PRIVATE kickoff_flags ${ARG_DEPENDS})
endfunction()

function(kickoff_embed target file symbol)
    set(out ${CMAKE_CURRENT_BINARY_DIR}/${symbol}.c)
    add_custom_command(OUTPUT ${out}
        COMMAND ${CMAKE_COMMAND} -DIN=${CMAKE_CURRENT_SOURCE_DIR}/${file} -DOUT=${out}
                -DSYMBOL=${symbol} -P ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
        DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${file} ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
        VERBATIM)
    target_sources(${target} PRIVATE ${out})
endfunction()
