# How a room, a test and a bench are declared. Every target gets the same warnings and, in the sanitizer presets,
# the same instrumentation.

set(RECALLD_SANITIZE "" CACHE STRING "Value of -fsanitize= for all of recalld's own code; empty for none")

add_library(recalld_flags INTERFACE)
target_include_directories(recalld_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(recalld_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wno-missing-field-initializers $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>>)
if(RECALLD_SANITIZE)
  target_compile_options(recalld_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${RECALLD_SANITIZE} -fno-omit-frame-pointer -g1>)
  target_link_options(recalld_flags INTERFACE -fsanitize=${RECALLD_SANITIZE})
  target_compile_definitions(recalld_flags INTERFACE RECALLD_SANITIZED=1)
  if(RECALLD_FUZZ)
    # Half of the time otherwise; what comparisons tell, sizes and checksums, the fuzzers put right themselves.
    target_compile_options(recalld_flags INTERFACE -fno-sanitize-coverage=trace-cmp)
  endif()
  if(RECALLD_SANITIZE MATCHES "undefined")
    target_compile_options(recalld_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize-recover=undefined>)
  endif()
endif()

# recalld_room(NAME SOURCES a.cpp ... DEPS base ...): the library recalld_NAME from files of the folder NAME.
function(recalld_room name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(recalld_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(recalld_${name} PUBLIC recalld_flags)
  foreach(dep IN LISTS ARG_DEPS)
    if(TARGET recalld_${dep})
      target_link_libraries(recalld_${name} PUBLIC recalld_${dep})
    else()
      target_link_libraries(recalld_${name} PUBLIC ${dep})
    endif()
  endforeach()
endfunction()

# recalld_timeout(VARIABLE): how long a test may take, given for a build without instrumentation on an idle machine.
function(recalld_timeout variable)
  set(factor 2)
  if(RECALLD_SANITIZE)
    set(factor 8)
  endif()
  math(EXPR seconds "${${variable}} * ${factor}")
  set(${variable} ${seconds} PARENT_SCOPE)
endfunction()

# recalld_test(NAME SOURCES ... DEPS ... [LABELS ...] [TIMEOUT s]): one GoogleTest program, one ctest test.
function(recalld_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  recalld_timeout(ARG_TIMEOUT)
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE recalld_flags GTest::gmock GTest::gtest_main)
  foreach(dep IN LISTS ARG_DEPS)
    if(TARGET recalld_${dep})
      target_link_libraries(${name} PRIVATE recalld_${dep})
    else()
      target_link_libraries(${name} PRIVATE ${dep})
    endif()
  endforeach()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
    ENVIRONMENT "RECALLD_SOURCE_DIR=${CMAKE_SOURCE_DIR};RECALLD_BUILD_DIR=${CMAKE_BINARY_DIR};RECALLD_TEST_MODEL=${RECALLD_DEFAULT_MODEL};RECALLD_TEST_ENCODER=${RECALLD_ENCODER};RECALLD_TEST_GEMMA=${RECALLD_GEMMA_MODEL}")
endfunction()

# recalld_bench(NAME SOURCES ... DEPS ...): the program bench_NAME, run by scripts/bench NAME.
function(recalld_bench name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(bench_${name} ${ARG_SOURCES})
  target_link_libraries(bench_${name} PRIVATE recalld_flags)
  foreach(dep IN LISTS ARG_DEPS)
    if(TARGET recalld_${dep})
      target_link_libraries(bench_${name} PRIVATE recalld_${dep})
    else()
      target_link_libraries(bench_${name} PRIVATE ${dep})
    endif()
  endforeach()
endfunction()

# recalld_standalone(NAME): the program runs on a machine that has the system's C library and nothing else of ours: it
# links what it uses of the rest statically.
function(recalld_standalone name)
  if(NOT RECALLD_SANITIZE)
    find_library(RECALLD_XXHASH_STATIC libxxhash.a)
    target_link_options(${name} PRIVATE -static-libgcc -static-libstdc++ -Wl,--as-needed)
    # Whole, so that what the rooms below ask of it is there before they ask.
    target_link_libraries(${name} PRIVATE -Wl,--whole-archive ${RECALLD_XXHASH_STATIC} -Wl,--no-whole-archive)
  endif()
endfunction()
