// SPDX-License-Identifier: Apache-2.0

// SPIRE's database schema: made new as version 25, taken over from 23 and 24, refused when older.
// Internal to server/datastore.

#pragma once

#include <functional>
#include <string_view>

#include "lib/sql/database.h"
#include "server/datastore/sql_datastore.h"

namespace steeple::server {

inline constexpr int kSchemaVersion = 25;
inline constexpr int kOldestSchemaVersion = 23;
inline constexpr std::string_view kCodeVersion = "1.15.3";

Result<void> prepare_schema(sql::Database& database, const Clock& clock,
                            const DatastoreOptions& options);

}  // namespace steeple::server
