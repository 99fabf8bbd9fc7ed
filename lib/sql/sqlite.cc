// SPDX-License-Identifier: Apache-2.0

// The SQLite driver. Durable by construction: write-ahead log with synchronous=FULL, so a commit
// that answered OK has been synced to disk.

#include <sqlite3.h>
#include <sys/stat.h>

#include <atomic>
#include <functional>
#include <string>
#include <unordered_map>

#include "lib/base/check.h"
#include "lib/sql/driver.h"

namespace steeple::sql {
namespace {

// Distinct statement texts a connection keeps prepared; above it the cache starts anew.
constexpr std::size_t kStatementsMax = 512;

Code code_of(int result) {
  switch (result & 0xFF) {
    case SQLITE_CONSTRAINT:
      return Code::kAlreadyExists;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
      return Code::kUnavailable;
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
      return Code::kResourceExhausted;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Code::kDataLoss;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return Code::kPermissionDenied;
    default:
      return Code::kInternal;
  }
}

Error error_of(sqlite3* db, int result) {
  return {code_of(result), db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(result)};
}

struct CloseDatabase {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};
struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

class SqliteStatement final : public Statement {
 public:
  SqliteStatement(sqlite3* db, sqlite3_stmt* statement) : db_(db), statement_(statement) {}

  bool in_use() const { return in_use_; }

  Result<void> bind(std::span<const Argument> arguments) override {
    CHECK(!in_use_);
    in_use_ = true;
    CHECK(static_cast<int>(arguments.size()) == sqlite3_bind_parameter_count(statement_.get()));
    int index = 0;
    for (const Argument& argument : arguments) {
      ++index;
      int result = std::visit([&](const auto& value) { return bind_one(index, value); }, argument);
      if (result != SQLITE_OK) {
        return error_of(db_, result);
      }
    }
    return {};
  }

  Result<bool> step() override {
    int result = sqlite3_step(statement_.get());
    if (result == SQLITE_ROW) {
      return true;
    }
    if (result == SQLITE_DONE) {
      return false;
    }
    return error_of(db_, result);
  }

  void reset() override {
    // Both repeat the error of the last step, which step() has given already.
    static_cast<void>(sqlite3_reset(statement_.get()));
    static_cast<void>(sqlite3_clear_bindings(statement_.get()));
    in_use_ = false;
  }

  bool is_null(int column) const override {
    return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
  }

  bool integer(int column, std::int64_t& out) const override {
    if (sqlite3_column_type(statement_.get(), column) != SQLITE_INTEGER) {
      return false;
    }
    out = sqlite3_column_int64(statement_.get(), column);
    return true;
  }

  bool text(int column, std::string_view& out) const override {
    int type = sqlite3_column_type(statement_.get(), column);
    if (type != SQLITE_TEXT && type != SQLITE_BLOB) {
      return false;
    }
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_.get(), column));
    auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
    out = bytes == nullptr ? std::string_view{} : std::string_view(bytes, size);
    return true;
  }

 private:
  // The arguments outlive the step: Rows copies nothing, so they are copied by SQLite.
  int bind_one(int index, Null) { return sqlite3_bind_null(statement_.get(), index); }
  int bind_one(int index, std::int64_t value) {
    return sqlite3_bind_int64(statement_.get(), index, value);
  }
  int bind_one(int index, std::string_view value) {
    return sqlite3_bind_text64(statement_.get(), index, value.empty() ? "" : value.data(),
                               value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  }
  int bind_one(int index, Blob value) {
    return sqlite3_bind_blob64(statement_.get(), index,
                               value.bytes.empty() ? "" : value.bytes.data(), value.bytes.size(),
                               SQLITE_TRANSIENT);
  }

  sqlite3* db_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  bool in_use_ = false;
};

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>()(text);
  }
};

// The head stands there twice; a writer fills the second copy first. Nothing while they differ.
// Other processes write it, so no lock and no sanitizer can order this read: the copies do.
__attribute__((no_sanitize("thread"))) std::optional<Stamp> read_stamp(
    const volatile std::uint32_t* head) {
  constexpr std::size_t kWords = std::tuple_size_v<decltype(Stamp::words)>;
  constexpr std::size_t kInitialised = 3;  // a byte of this word
  Stamp stamp;
  for (std::size_t i = 0; i < kWords; ++i) {
    stamp.words[i] = head[i];
  }
  std::atomic_thread_fence(std::memory_order_acquire);
  for (std::size_t i = 0; i < kWords; ++i) {
    if (head[kWords + i] != stamp.words[i]) {
      return std::nullopt;
    }
  }
  if ((stamp.words[kInitialised] & 0xFF) == 0) {
    return std::nullopt;
  }
  std::atomic_thread_fence(std::memory_order_acquire);
  return stamp;
}

class SqliteConnection final : public Connection {
 public:
  explicit SqliteConnection(std::unique_ptr<sqlite3, CloseDatabase> db) : db_(std::move(db)) {}

  Result<Statement*> prepare(std::string_view sql) override {
    if (auto found = statements_.find(sql); found != statements_.end()) {
      CHECK(!found->second->in_use());
      return found->second.get();
    }
    if (statements_.size() >= kStatementsMax) {
      std::erase_if(statements_, [](const auto& item) { return !item.second->in_use(); });
    }
    sqlite3_stmt* raw = nullptr;
    int result = sqlite3_prepare_v3(db_.get(), sql.data(), static_cast<int>(sql.size()),
                                    SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
    if (result != SQLITE_OK) {
      return error_of(db_.get(), result);
    }
    auto statement = std::make_unique<SqliteStatement>(db_.get(), raw);
    return statements_.emplace(std::string(sql), std::move(statement)).first->second.get();
  }

  Result<void> execute(std::string_view script) override {
    int result = sqlite3_exec(db_.get(), std::string(script).c_str(), nullptr, nullptr, nullptr);
    if (result != SQLITE_OK) {
      return error_of(db_.get(), result);
    }
    return {};
  }

  std::int64_t last_insert_id() const override { return sqlite3_last_insert_rowid(db_.get()); }
  std::int64_t changed_rows() const override { return sqlite3_changes64(db_.get()); }
  std::string version() const override { return sqlite3_libversion(); }
  bool in_memory() const override {
    const char* file = sqlite3_db_filename(db_.get(), "main");
    return file == nullptr || *file == '\0';
  }
  // The head of the WAL index, which every process on this database has mapped: each commit counts
  // it up (sqlite.org/walformat.html, 2.1). SQLite's own readers compare it in the same way.
  StampSource stamp_source() override {
    sqlite3_file* file = nullptr;
    // A first read, so that the index is there.
    if (in_memory() || !execute("SELECT 1 FROM sqlite_master LIMIT 1").ok() ||
        sqlite3_file_control(db_.get(), "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
        file == nullptr || file->pMethods == nullptr || file->pMethods->iVersion < 2 ||
        file->pMethods->xShmMap == nullptr) {
      return {};
    }
    constexpr int kIndexPageBytes = 32 * 1024;
    volatile void* index = nullptr;
    if (file->pMethods->xShmMap(file, 0, kIndexPageBytes, 0, &index) != SQLITE_OK ||
        index == nullptr) {
      return {};
    }
    return [head = static_cast<const volatile std::uint32_t*>(index)] { return read_stamp(head); };
  }
  std::string_view begin_writing() const override { return "BEGIN IMMEDIATE"; }
  std::string_view begin_reading() const override { return "BEGIN DEFERRED"; }

 private:
  std::unique_ptr<sqlite3, CloseDatabase> db_;
  std::unordered_map<std::string, std::unique_ptr<SqliteStatement>, TextHash, std::equal_to<>>
      statements_;
};

// A database that was just made holds keys' public halves and tokens: for its owner only. Its log
// files take over the mode.
Result<void> restrict_new_file(sqlite3* db) {
  const char* file = sqlite3_db_filename(db, "main");
  struct stat status{};
  if (file == nullptr || *file == '\0' || stat(file, &status) != 0 || status.st_size != 0) {
    return {};
  }
  if (chmod(file, S_IRUSR | S_IWUSR) != 0) {
    return errno_error(errno, "restrict the new database file");
  }
  return {};
}

// Before the first connection of the process. Counting SQLite's memory takes a lock at each
// allocation, for a figure that nobody reads.
void configure_library() {
  static const int kConfigured = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  static_cast<void>(kConfigured);  // refused when somebody else was first: no harm
}

}  // namespace

Result<std::unique_ptr<Connection>> open_sqlite(const std::string& uri,
                                                std::chrono::milliseconds busy_timeout) {
  configure_library();
  sqlite3* raw = nullptr;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX |
              SQLITE_OPEN_EXRESCODE;
  int result = sqlite3_open_v2(uri.c_str(), &raw, flags, nullptr);
  std::unique_ptr<sqlite3, CloseDatabase> db(raw);
  if (result != SQLITE_OK) {
    return error_of(raw, result);
  }
  sqlite3_busy_timeout(raw, static_cast<int>(busy_timeout.count()));
  TRY(restrict_new_file(raw));
  auto connection = std::make_unique<SqliteConnection>(std::move(db));
  TRY(
      connection->execute("PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL;"
                          "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;"));
  if (!connection->in_memory()) {
    TRY(connection->execute("PRAGMA journal_mode = WAL"));
    // Pages in the log before they are copied into the file, which takes two more syncs: 16 MiB.
    TRY(connection->execute("PRAGMA wal_autocheckpoint = 4000"));
  }
  return std::unique_ptr<Connection>(std::move(connection));
}

}  // namespace steeple::sql
