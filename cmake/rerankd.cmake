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
add_compile_options(-pthread -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Werror -ffp-contract=off)

find_program(RERANKD_CCACHE ccache)
if(RERANKD_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros ${RERANKD_CCACHE})
endif()
find_program(RERANKD_MOLD mold)
if(RERANKD_MOLD AND NOT CMAKE_CROSSCOMPILING)  # the cross compiler looks for its own linker
  add_link_options(-fuse-ld=mold)
endif()
if(RERANKD_SANITIZE)
  set(CMAKE_CXX_FLAGS_RELEASE "-O1 -DNDEBUG")  # half the time to compile
  add_compile_options(-fsanitize=${RERANKD_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -g1)
  add_link_options(-fsanitize=${RERANKD_SANITIZE})
  add_compile_definitions(RERANKD_SANITIZED)  # tests ask less of code that is ten times slower
endif()
if(RERANKD_SANITIZE STREQUAL "thread")
  add_compile_options(-Wno-tsan)  # Asio's fences, which the sanitizer does not model
endif()
if(RERANKD_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)  # coverage of the libraries is what guides the fuzzers
endif()
find_package(Threads REQUIRED)

# What most files include and takes the compiler longest to read, read once (kernels excepted: their files see no
# header that is compiled with another instruction set elsewhere).
set(precompiled <algorithm> <chrono> <fstream> <functional> <map> <memory> <mutex> <optional> <set> <span> <sstream> <string>
  <string_view> <thread> <unordered_map> <utility> <vector> <nlohmann/json.hpp>)
set(test_options -O1)  # a quarter less time to compile than with -O2, and hardly longer to run
# GCC 12 sees overflows where strings are added (its bug 105329); those it keeps to itself unless the headers are precompiled.
set(precompiled_options $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds;-Wno-restrict;-Wno-stringop-overflow>)
function(rerankd_precompile target)
  add_library(${target} OBJECT ${CMAKE_SOURCE_DIR}/cmake/precompiled.cc)
  target_precompile_headers(${target} PRIVATE ${precompiled} ${ARGN})
endfunction()
# rerankd_use_precompiled(<target> <what rerankd_precompile() made>): nothing where that is not made.
function(rerankd_use_precompiled target headers)
  if(TARGET ${headers})
    target_precompile_headers(${target} REUSE_FROM ${headers})
    target_compile_options(${target} PRIVATE "${precompiled_options}")
  endif()
endfunction()
if(NOT CMAKE_CROSSCOMPILING)
  rerankd_precompile(rerankd_precompiled)
  if(RERANKD_TESTS)
    rerankd_precompile(rerankd_precompiled_tests <gmock/gmock.h> <gtest/gtest.h>)
    set_target_properties(rerankd_precompiled_tests PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_link_libraries(rerankd_precompiled_tests PRIVATE GTest::gmock)
    target_compile_options(rerankd_precompiled_tests PRIVATE -fPIE ${test_options})  # as programs are compiled
  endif()
endif()

# rerankd_library(<name> SRCS a.cc ... DEPS rerankd_base ...): the static library rerankd_<name> of one folder.
function(rerankd_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  string(REPLACE "/" "_" target rerankd_${name})
  add_library(${target} STATIC ${ARG_SRCS})
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include)
  target_link_libraries(${target} PUBLIC ${ARG_DEPS})
  rerankd_use_precompiled(${target} rerankd_precompiled)
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
  rerankd_use_precompiled(${name} rerankd_precompiled_tests)
  target_compile_options(${name} PRIVATE ${test_options})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT})
endfunction()

# Optional backends: RERANKD_<NAME> is AUTO (built where the engine's package is found), ON (an error where it is not) or
# OFF. Engines are looked for in RERANKD_ENGINES, the folder of Python packages that `make backends` fills.
set(RERANKD_PLUGIN_DIR ${CMAKE_BINARY_DIR}/apps/rerankd/plugins)
set(RERANKD_TEST_PLUGIN_DIR ${CMAKE_BINARY_DIR}/test-plugins)
file(GLOB RERANKD_ENGINES_FOUND ${CMAKE_SOURCE_DIR}/build/backends-venv/lib/python3*/site-packages)
set(RERANKD_ENGINES "${RERANKD_ENGINES_FOUND}" CACHE PATH "site-packages folder with torch, openvino and mlx")
if(NOT RERANKD_ENGINES)
  set(RERANKD_ENGINES "${RERANKD_ENGINES_FOUND}" CACHE PATH "" FORCE)  # made since the last configuration
endif()
foreach(plugin MLX ONNX OPENVINO TORCH)
  set(RERANKD_${plugin} AUTO CACHE STRING "Build the backend plugin: AUTO | ON | OFF")
endforeach()

# rerankd_find_engine(<NAME> <file of its package>): sets <NAME>_FOUND, or fails where the option says ON.
function(rerankd_find_engine name file)
  set(${name}_FOUND FALSE PARENT_SCOPE)
  if(RERANKD_${name} STREQUAL "OFF")
    return()
  endif()
  if(RERANKD_ENGINES AND EXISTS ${RERANKD_ENGINES}/${file})
    set(${name}_FOUND TRUE PARENT_SCOPE)
  elseif(RERANKD_${name} STREQUAL "AUTO")
    message(STATUS "backend plugin ${name}: skipped, no ${file} in '${RERANKD_ENGINES}' (`make backends` gets it)")
  else()
    message(FATAL_ERROR "RERANKD_${name}=ON, but there is no ${file} in '${RERANKD_ENGINES}': run `make backends`")
  endif()
endfunction()

# rerankd_plugin(<name> SRCS ... DEPS ...): the shared object rerankd_<name>.so beside the binary.
function(rerankd_plugin name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_library(rerankd_plugin_${name} MODULE ${ARG_SRCS})
  target_link_libraries(rerankd_plugin_${name} PRIVATE ${ARG_DEPS})
  set_target_properties(rerankd_plugin_${name} PROPERTIES PREFIX "" OUTPUT_NAME rerankd_${name} CXX_VISIBILITY_PRESET hidden
    LIBRARY_OUTPUT_DIRECTORY ${RERANKD_PLUGIN_DIR})
  # Its copies of our own code stay its own; libraries that its parts would use but it does not are not loaded.
  if(NOT APPLE)  # whose linker knows none of these, and leaves no symbol open by itself
    target_link_options(rerankd_plugin_${name} PRIVATE LINKER:--exclude-libs,ALL LINKER:--as-needed)
  endif()
  if(NOT RERANKD_SANITIZE AND NOT APPLE)
    target_link_options(rerankd_plugin_${name} PRIVATE LINKER:-z,defs)
  endif()
  set_property(GLOBAL APPEND PROPERTY RERANKD_PLUGINS rerankd_plugin_${name})
endfunction()
