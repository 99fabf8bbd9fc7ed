# steeple_library(NAME DEPS...): the .cc files of this folder as a static library NAME, and its
# *_test.cc files as the program NAME_test. Folders decide by file name alone: foo.cc is product,
# foo_test.cc test, foo_bench.cc benchmark, foo_fuzz.cc fuzz target, fake_foo.cc a twin for tests.
# steeple_program(NAME DEPS...): main.cc of this folder as the program NAME in build/<preset>/bin.

# Groups to build by name: what ships, the unit tests, the peers that other tests drive, benchmarks.
foreach(group programs tests test_programs bench fuzz)
  add_custom_target(${group})
endforeach()

add_library(steeple_pch STATIC ${CMAKE_SOURCE_DIR}/cmake/pch.cc)
target_precompile_headers(steeple_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch.h)
target_link_libraries(steeple_pch PUBLIC fmt::fmt)
target_compile_options(steeple_pch PRIVATE ${STEEPLE_WARNINGS})
# ccache tells precompiled headers apart by their bytes, which differ from folder to folder. With
# CCACHE_PCH_EXTSUM (set by ./dev) it takes this sum of what went in instead, so that a fresh clone
# finds what another one compiled.
execute_process(COMMAND ${CMAKE_CXX_COMPILER} -std=gnu++23 -E -P -w ${CMAKE_SOURCE_DIR}/cmake/pch.h
                OUTPUT_VARIABLE pch_text)
string(SHA256 pch_sum "${pch_text} ${CMAKE_CXX_COMPILER_VERSION} ${CMAKE_BUILD_TYPE} ${STEEPLE_SANITIZE} ${STEEPLE_FUZZ}")
file(WRITE ${CMAKE_BINARY_DIR}/CMakeFiles/steeple_pch.dir/cmake_pch.hxx.gch.sum "${pch_sum}\n")

# The fuzz driver itself is not instrumented: it is what the instrumentation calls.
if(STEEPLE_FUZZ)
  add_library(fuzz_driver OBJECT ${CMAKE_SOURCE_DIR}/tests/fuzz/driver.cc)
  target_compile_options(fuzz_driver PRIVATE -fno-sanitize-coverage=trace-pc -O2)
  target_include_directories(fuzz_driver PRIVATE ${CMAKE_SOURCE_DIR})
  # All other programs of such a build need the hook, too, and do nothing in it.
  add_library(no_coverage STATIC ${CMAKE_SOURCE_DIR}/tests/fuzz/no_coverage.cc)
  target_compile_options(no_coverage PRIVATE -fno-sanitize-coverage=trace-pc)
  link_libraries(no_coverage)
endif()

function(steeple_flags target)
  target_compile_options(${target} PRIVATE ${STEEPLE_WARNINGS})
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>
                             $<INSTALL_INTERFACE:include/steeple>)
  target_link_libraries(${target} PUBLIC fmt::fmt)
  target_precompile_headers(${target} REUSE_FROM steeple_pch)
endfunction()

# The *_fuzz.cc of this folder as programs in build/asan/fuzz, named as their files are; names are unique
# in the whole tree.
function(steeple_fuzz_targets library)
  if(NOT STEEPLE_FUZZ)
    return()
  endif()
  file(GLOB targets CONFIGURE_DEPENDS *_fuzz.cc)
  foreach(source ${targets})
    get_filename_component(target ${source} NAME_WE)
    add_executable(${target} ${source})
    steeple_flags(${target})
    target_link_libraries(${target} PRIVATE ${library} fuzz_driver)
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
    add_dependencies(fuzz ${target})
  endforeach()
endfunction()

function(steeple_library name)
  file(GLOB sources CONFIGURE_DEPENDS *.cc)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER sources EXCLUDE REGEX "(_test|_bench|_fuzz|/main)\\.cc$")
  if(sources)
    add_library(${name} STATIC ${sources})
    steeple_flags(${name})
    target_link_libraries(${name} PUBLIC ${ARGN})
  else()
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>
                               $<INSTALL_INTERFACE:include/steeple>)
    target_link_libraries(${name} INTERFACE ${ARGN})
  endif()
  steeple_fuzz_targets(${name})
  if(tests)
    add_executable(${name}_test ${tests})
    steeple_flags(${name}_test)
    target_link_libraries(${name}_test PRIVATE ${name} GTest::gmock GTest::gtest_main)
    set_target_properties(${name}_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
    add_test(NAME ${name}_test COMMAND ${name}_test)
    add_dependencies(tests ${name}_test)
  endif()
endfunction()

function(steeple_program name)
  add_executable(${name} main.cc)
  steeple_flags(${name})
  target_link_libraries(${name} PRIVATE ${ARGN})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  target_link_options(${name} PRIVATE ${STEEPLE_PROGRAM_LINK_OPTIONS})
  add_dependencies(programs ${name})
endfunction()
