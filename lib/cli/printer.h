// SPDX-License-Identifier: Apache-2.0

// `-output pretty|json`. JSON is protojson with proto field names and unpopulated fields, nulls
// removed, keys sorted, on one line: one message is an object, several are an array. Pretty is the
// command's own function.

#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/cli/environment.h"
#include "lib/cli/flags.h"

namespace google::protobuf {
class Message;
}

namespace steeple::cli {

enum class OutputFormat : unsigned char { kPretty, kJson };

// The value of the flag: a member of a command's flag struct.
struct Output {
  OutputFormat format = OutputFormat::kPretty;
  bool given = false;

  bool json() const { return format == OutputFormat::kJson; }
};

// Adds -output.
void add_output_flag(FlagSet& flags, Output& output);

// The JSON of the messages, without newline; empty when there is none.
Result<std::string> to_json(const std::vector<const google::protobuf::Message*>& messages);
// Any JSON text, nulls removed, keys sorted, one line, '<', '>' and '&' escaped as Go does.
Result<std::string> normalize_json(const std::string& text);

// Prints the messages in the chosen format.
Result<void> print(const Output& output, Environment& environment,
                   const std::vector<const google::protobuf::Message*>& messages,
                   const std::function<Result<void>(Environment&)>& pretty);
// The same for things that are no protobuf message, given as JSON text.
Result<void> print_json_text(const Output& output, Environment& environment,
                             const std::string& json,
                             const std::function<Result<void>(Environment&)>& pretty);

}  // namespace steeple::cli
