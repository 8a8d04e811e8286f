# Build rules shared by all folders: compiler settings, rerankd_library(), rerankd_test().

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
# -O2 without -march: instruction sets beyond the baseline live in src/kernels/<isa> only.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
# -ffp-contract=off: scores must not depend on where the compiler happens to fuse a multiply-add.
add_compile_options(-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Werror -ffp-contract=off)

find_program(RERANKD_CCACHE ccache)
if(RERANKD_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${RERANKD_CCACHE})
endif()
find_program(RERANKD_MOLD mold)
if(RERANKD_MOLD)
  add_link_options(-fuse-ld=mold)
endif()
if(RERANKD_SANITIZE)
  set(CMAKE_CXX_FLAGS_RELEASE "-O1 -DNDEBUG")  # half the time to compile
  add_compile_options(-fsanitize=${RERANKD_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -g1)
  add_link_options(-fsanitize=${RERANKD_SANITIZE})
endif()
if(RERANKD_SANITIZE STREQUAL "thread")
  add_compile_options(-Wno-tsan)  # Asio's fences, which the sanitizer does not model
endif()
if(RERANKD_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)  # coverage of the libraries is what guides the fuzzers
endif()
find_package(Threads REQUIRED)

# rerankd_library(<name> SRCS a.cc ... DEPS rerankd_base ...): the static library rerankd_<name> of one folder.
function(rerankd_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  string(REPLACE "/" "_" target rerankd_${name})
  add_library(${target} STATIC ${ARG_SRCS})
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include)
  target_link_libraries(${target} PUBLIC ${ARG_DEPS})
endfunction()

# rerankd_test(<name> SRCS a_test.cc ... DEPS ...): one GoogleTest program and one ctest entry.
function(rerankd_test name)
  if(NOT RERANKD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "TIMEOUT" "SRCS;DEPS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SRCS})
  target_compile_definitions(${name} PRIVATE RERANKD_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT})
endfunction()
