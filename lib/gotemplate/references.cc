// SPDX-License-Identifier: Apache-2.0

// What a template may read: every operand is followed to the paths of the data that it may stand
// for. Errs towards too much: lists and called templates count as a whole where they are not known.

#include "lib/gotemplate/syntax.h"

namespace steeple::gotemplate {

namespace {

constexpr std::size_t kPathMax = 12;   // names; a longer path counts by its beginning
constexpr std::size_t kPathsMax = 64;  // of one operand; with more it may be anything
constexpr std::size_t kCallsMax = 64;  // of templates with other data
constexpr int kRoundsMax = 16;         // of assignments in loops, until the sets no longer grow

using Paths = std::set<FieldPath>;

class Finder {
 public:
  explicit Finder(const Program& program) : program_(program) {}

  References run() {
    const Node& root = *program_.trees.at(program_.name);
    // Assignments in a loop reach the text before them, so once more until nothing is new.
    for (int round = 0; round < kRoundsMax; ++round) {
      std::size_t before = known();
      called_.clear();
      variables_["$"].insert(FieldPath());
      visit(root, {FieldPath()});
      if (known() == before) {
        return std::move(read_);
      }
    }
    return {FieldPath()};
  }

 private:
  std::size_t known() const {
    std::size_t count = read_.size();
    for (const auto& [name, paths] : variables_) {
      count += paths.size();
    }
    return count;
  }

  void read(const Paths& paths) { read_.insert(paths.begin(), paths.end()); }

  static Paths below(const Paths& paths, std::span<const std::string> names) {
    Paths result;
    for (FieldPath path : paths) {
      path.insert(path.end(), names.begin(), names.end());
      path.resize(std::min(path.size(), kPathMax));
      result.insert(std::move(path));
    }
    return result;
  }

  static void add(Paths& paths, const Paths& more) {
    paths.insert(more.begin(), more.end());
    if (paths.size() > kPathsMax) {
      paths = {FieldPath()};
    }
  }

  void visit(const Node& node, const Paths& dot);
  void call_template(const Node& node, const Paths& dot);
  Paths pipe(const Node* node, const Paths& dot);
  Paths command(const Node& node, const Paths& dot, const Paths& final, bool has_final);
  Paths operand(const Node& node, const Paths& dot);

  const Program& program_;
  References read_;
  // All variables of a name are one here, in whatever scope.
  std::map<std::string, Paths> variables_;
  std::set<std::pair<std::string, Paths>> called_;
};

void Finder::visit(const Node& node, const Paths& dot) {
  switch (node.kind) {
    case NodeKind::kList:
      for (const NodePtr& child : node.children) {
        visit(*child, dot);
      }
      break;
    case NodeKind::kAction: {
      Paths paths = pipe(node.pipe.get(), dot);
      if (node.pipe->variables.empty()) {
        read(paths);
      }
      break;
    }
    case NodeKind::kIf:
    case NodeKind::kWith:
    case NodeKind::kRange: {
      Paths paths = pipe(node.pipe.get(), dot);
      read(paths);
      visit(*node.list, node.kind == NodeKind::kIf ? dot : paths);
      if (node.else_list != nullptr) {
        visit(*node.else_list, dot);
      }
      break;
    }
    case NodeKind::kTemplate:
      call_template(node, dot);
      break;
    default:
      break;
  }
}

void Finder::call_template(const Node& node, const Paths& dot) {
  Paths paths = pipe(node.pipe.get(), dot);
  auto tree = program_.trees.find(node.text);
  if (tree == program_.trees.end() || !called_.insert({node.text, paths}).second) {
    return;
  }
  add(variables_["$"], paths);
  if (called_.size() > kCallsMax) {
    read_.insert(FieldPath());  // too many ways through it: all may be read
    return;
  }
  visit(*tree->second, paths);
}

Paths Finder::pipe(const Node* node, const Paths& dot) {
  Paths value;
  if (node == nullptr) {
    return value;
  }
  for (std::size_t i = 0; i < node->children.size(); ++i) {
    value = command(*node->children[i], dot, value, i > 0);
  }
  for (const NodePtr& variable : node->variables) {
    add(variables_[variable->names[0]], value);
  }
  return value;
}

// What a function is given it reads, and its result may be any of that.
Paths Finder::command(const Node& node, const Paths& dot, const Paths& final, bool has_final) {
  const Node& word = *node.children[0];
  if (word.kind != NodeKind::kIdentifier && node.children.size() == 1 && !has_final) {
    return operand(word, dot);
  }
  bool own_index = program_.functions.contains("index");
  if (word.text == "index" && word.kind == NodeKind::kIdentifier && !own_index && !has_final &&
      node.children.size() >= 2) {
    Paths paths = operand(*node.children[1], dot);
    bool constant = true;
    for (std::size_t i = 2; i < node.children.size(); ++i) {
      const Node& key = *node.children[i];
      constant = constant && key.kind == NodeKind::kString;
      if (constant) {
        paths = below(paths, std::span(&key.text, 1));
      } else {
        read(operand(key, dot));
      }
    }
    read(paths);
    return paths;
  }
  Paths result = final;
  for (const NodePtr& child : node.children) {
    Paths paths = operand(*child, dot);
    add(result, paths);
  }
  read(result);
  return result;
}

Paths Finder::operand(const Node& node, const Paths& dot) {
  switch (node.kind) {
    case NodeKind::kDot:
      return dot;
    case NodeKind::kField:
      return below(dot, node.names);
    case NodeKind::kVariable:
      return below(variables_[node.names[0]], std::span(node.names).subspan(1));
    case NodeKind::kPipe:
      return pipe(&node, dot);
    case NodeKind::kChain: {
      // A field of what a function gave stands for the whole of it; it was read already.
      Paths paths = operand(*node.children[0], dot);
      return below(paths, node.names);
    }
    default:
      return {};
  }
}

}  // namespace

References find_references(const Program& program) {
  References found = Finder(program).run();
  // A path below another one says nothing more.
  References result;
  for (const FieldPath& path : found) {
    bool covered = false;
    for (std::size_t size = 0; size < path.size() && !covered; ++size) {
      covered =
          found.contains(FieldPath(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(size)));
    }
    if (!covered) {
      result.insert(path);
    }
  }
  return result;
}

}  // namespace steeple::gotemplate
