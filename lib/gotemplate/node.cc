// SPDX-License-Identifier: Apache-2.0

// Nodes as error texts show them: the source in a normal form.

#include "lib/gotemplate/syntax.h"
#include "lib/gotemplate/unicode.h"

namespace steeple::gotemplate {

namespace {

void write_names(const Node& node, std::string& out, bool leading_dot) {
  for (std::size_t i = 0; i < node.names.size(); ++i) {
    if (i > 0 || leading_dot) {
      out += '.';
    }
    out += node.names[i];
  }
}

void write_in_parentheses(const Node& node, std::string& out) {
  bool pipe = node.kind == NodeKind::kPipe;
  out += pipe ? "(" : "";
  node.write_to(out);
  out += pipe ? ")" : "";
}

void write_pipe(const Node& node, std::string& out) {
  for (std::size_t i = 0; i < node.variables.size(); ++i) {
    out += i > 0 ? ", " : "";
    node.variables[i]->write_to(out);
  }
  if (!node.variables.empty()) {
    out += node.assigns ? " = " : " := ";
  }
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    out += i > 0 ? " | " : "";
    node.children[i]->write_to(out);
  }
}

void write_branch(const Node& node, std::string_view word, std::string& out) {
  out += "{{";
  out += word;
  out += ' ';
  node.pipe->write_to(out);
  out += "}}";
  node.list->write_to(out);
  if (node.else_list != nullptr) {
    out += "{{else}}";
    node.else_list->write_to(out);
  }
  out += "{{end}}";
}

}  // namespace

void Node::write_to(std::string& out) const {
  switch (kind) {
    case NodeKind::kText:
    case NodeKind::kIdentifier:
    case NodeKind::kNumber:
      out += text;
      break;
    case NodeKind::kAction:
      out += "{{";
      pipe->write_to(out);
      out += "}}";
      break;
    case NodeKind::kBool:
      out += truth ? "true" : "false";
      break;
    case NodeKind::kBreak:
      out += "{{break}}";
      break;
    case NodeKind::kContinue:
      out += "{{continue}}";
      break;
    case NodeKind::kElse:
      out += "{{else}}";
      break;
    case NodeKind::kEnd:
      out += "{{end}}";
      break;
    case NodeKind::kChain:
      write_in_parentheses(*children[0], out);
      write_names(*this, out, true);
      break;
    case NodeKind::kCommand:
      for (std::size_t i = 0; i < children.size(); ++i) {
        out += i > 0 ? " " : "";
        write_in_parentheses(*children[i], out);
      }
      break;
    case NodeKind::kDot:
      out += '.';
      break;
    case NodeKind::kField:
      write_names(*this, out, true);
      break;
    case NodeKind::kVariable:
      write_names(*this, out, false);
      break;
    case NodeKind::kIf:
      write_branch(*this, "if", out);
      break;
    case NodeKind::kRange:
      write_branch(*this, "range", out);
      break;
    case NodeKind::kWith:
      write_branch(*this, "with", out);
      break;
    case NodeKind::kList:
      for (const NodePtr& child : children) {
        child->write_to(out);
      }
      break;
    case NodeKind::kNil:
      out += "nil";
      break;
    case NodeKind::kPipe:
      write_pipe(*this, out);
      break;
    case NodeKind::kString:
      out += quoted;
      break;
    case NodeKind::kTemplate:
      out += "{{template " + quote(text);
      if (pipe != nullptr) {
        out += ' ';
        pipe->write_to(out);
      }
      out += "}}";
      break;
  }
}

std::string Node::str() const {
  std::string out;
  write_to(out);
  return out;
}

}  // namespace steeple::gotemplate
