# `cmake --install`: the client library for other projects, as the CMake package `steeple` (target
# steeple::spiffe_tls and those below it) and as the pkg-config module `steeple-spiffe`.
include(CMakePackageConfigHelpers)

set(library_targets spiffe_tls spiffe_workloadapi spiffe_svid spiffe_bundle spiffe_id tls rpc jose x509
    crypto io base proto)
# Installed beside OpenSSL's, a libcrypto.a or libtls.a of ours would be taken for another's.
foreach(target ${library_targets})
  set_target_properties(${target} PROPERTIES OUTPUT_NAME steeple_${target})
endforeach()
install(TARGETS ${library_targets} EXPORT steeple ARCHIVE DESTINATION lib/steeple)
install(EXPORT steeple NAMESPACE steeple:: DESTINATION lib/cmake/steeple FILE steepleTargets.cmake)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/spiffe DESTINATION include/steeple FILES_MATCHING PATTERN "*.h"
        PATTERN examples EXCLUDE PATTERN "fake_*" EXCLUDE)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/lib/base ${CMAKE_SOURCE_DIR}/lib/crypto ${CMAKE_SOURCE_DIR}/lib/x509
        ${CMAKE_SOURCE_DIR}/lib/io DESTINATION include/steeple/lib
        FILES_MATCHING PATTERN "*.h" PATTERN "fake_*" EXCLUDE)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/steepleConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/steepleConfig.cmake ${CMAKE_BINARY_DIR}/steepleConfigVersion.cmake
        DESTINATION lib/cmake/steeple)

# Static archives refer to each other in both directions of this list, so the linker gets a group.
list(TRANSFORM library_targets PREPEND "-lsteeple_" OUTPUT_VARIABLE library_flags)
list(JOIN library_flags " " STEEPLE_LIBRARY_FLAGS)
configure_file(${CMAKE_CURRENT_LIST_DIR}/steeple-spiffe.pc.in ${CMAKE_BINARY_DIR}/steeple-spiffe.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/steeple-spiffe.pc DESTINATION lib/pkgconfig)
