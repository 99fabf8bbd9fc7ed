# Compiler, language level, warnings, sanitizers, compiler cache.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS ON) # TRY is a statement expression
add_compile_options(-fPIC) # one setting everywhere, so that all share the precompiled header

if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU" OR CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12.2)
  message(FATAL_ERROR "g++ 12.2 or newer is needed, found ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
endif()

set(STEEPLE_SANITIZE "" CACHE STRING "sanitizers, as -fsanitize takes them")

option(STEEPLE_FUZZ "build the fuzz targets, with coverage feedback" OFF)

set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")
add_compile_options(-fno-omit-frame-pointer)
if(STEEPLE_SANITIZE)
  add_compile_options(-O1 -fsanitize=${STEEPLE_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${STEEPLE_SANITIZE})
  # Asio uses a fence, of which the thread sanitizer knows too little; g++ warns of that.
  add_compile_options(-Wno-tsan)
  if(STEEPLE_FUZZ)
    add_compile_options(-fsanitize-coverage=trace-pc)
  endif()
else()
  add_compile_options($<$<CONFIG:Release>:-ffunction-sections> $<$<CONFIG:Release>:-fdata-sections>)
  add_compile_definitions($<$<CONFIG:Release>:_FORTIFY_SOURCE=2>)
  add_compile_options(-fstack-protector-strong)
  add_link_options($<$<CONFIG:Release>:-Wl,--gc-sections>)
endif()
add_link_options(-Wl,-z,relro,-z,now -fuse-ld=lld)

# The programs that ship: relative relocations packed (DT_RELR) save a sixteenth of their size. GNU ld
# writes them so that glibc 2.36 takes them; LLVM's of Debian 12 does not.
set(STEEPLE_PROGRAM_LINK_OPTIONS)
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT STEEPLE_SANITIZE)
  set(STEEPLE_PROGRAM_LINK_OPTIONS -fuse-ld=bfd -Wl,-z,pack-relative-relocs -Wl,--as-needed)
endif()
set(THREADS_PREFER_PTHREAD_FLAG ON)

# Generated code is compiled without these.
set(STEEPLE_WARNINGS -Wall -Wextra -Wpedantic -Wconversion -Wshadow=local -Wnon-virtual-dtor -Werror)
# g++ 12 takes `std::string("...") + x` for a write or read out of bounds (its bugs 105329 and 105651),
# now and then, as inlining happens to fall; 13 does not.
if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  list(APPEND STEEPLE_WARNINGS -Wno-array-bounds -Wno-restrict -Wno-stringop-overflow
       -Wno-stringop-overread)
endif()

find_program(CCACHE ccache)
if(CCACHE)
  set(launcher ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
endif()
