# Libraries of the system. Everything here is a Debian 12 package; `./dev setup` installs them.
find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(Protobuf 3.21 REQUIRED)
find_package(fmt 9 REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(prometheus-cpp REQUIRED)
find_package(Boost 1.74 REQUIRED)
find_package(GTest REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(nghttp2 REQUIRED IMPORTED_TARGET libnghttp2>=1.52)
pkg_check_modules(sqlite3 REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(curl REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(yaml REQUIRED IMPORTED_TARGET yaml-0.1)

# What ships carries these libraries inside: less resident memory and a quicker start than with the
# shared ones. OpenSSL stays shared, so that the system's security updates reach it.
option(STEEPLE_STATIC "link protobuf, nghttp2 and SQLite statically" OFF)
if(STEEPLE_STATIC OR CMAKE_BUILD_TYPE STREQUAL "Release")
  foreach(archive protobuf nghttp2 sqlite3 yaml)
    find_library(STEEPLE_LIB_${archive} NAMES lib${archive}.a REQUIRED)
  endforeach()
  # The targets found above get the archive's path.
  set_target_properties(protobuf::libprotobuf PROPERTIES
    IMPORTED_LOCATION ${STEEPLE_LIB_protobuf} IMPORTED_LOCATION_RELEASE ${STEEPLE_LIB_protobuf})
  foreach(archive nghttp2 sqlite3 yaml)
    set_target_properties(PkgConfig::${archive} PROPERTIES
      INTERFACE_LINK_LIBRARIES "${STEEPLE_LIB_${archive}};${CMAKE_DL_LIBS}")
  endforeach()
endif()
