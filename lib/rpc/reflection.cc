// SPDX-License-Identifier: Apache-2.0

// grpc.reflection v1 and v1alpha, over what protoc compiled into the program. The two versions have
// the same messages on the wire, so one handler serves both.

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpc/reflection/v1/reflection.pb.h>
#include <grpc/reflection/v1alpha/reflection.pb.h>

#include "lib/rpc/server_core.h"
#include "lib/rpc/typed.h"

namespace steeple::rpc {
namespace {

namespace pb = google::protobuf;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;
using ReflectionStream = TypedStream<ServerReflectionRequest, ServerReflectionResponse>;

// Names of files that this stream has sent already.
using Sent = std::set<std::string>;

void refuse(ServerReflectionResponse& response, std::string_view what) {
  auto* error = response.mutable_error_response();
  error->set_error_code(static_cast<int>(Code::kNotFound));
  error->set_error_message(fmt::format("proto: not found: \"{}\"", what));
}

// The file, always, and what it imports as far as the client does not have it.
void answer_file(const pb::FileDescriptor* file, std::string_view asked, Sent& sent,
                 ServerReflectionResponse& response) {
  if (file == nullptr) {
    refuse(response, asked);
    return;
  }
  auto* files = response.mutable_file_descriptor_response();
  std::vector<const pb::FileDescriptor*> queue = {file};
  for (std::size_t at = 0; at < queue.size(); ++at) {
    const pb::FileDescriptor* next = queue[at];
    if (!sent.insert(next->name()).second && at > 0) {
      continue;
    }
    pb::FileDescriptorProto proto;
    next->CopyTo(&proto);
    files->add_file_descriptor_proto(proto.SerializeAsString());
    for (int i = 0; i < next->dependency_count(); ++i) {
      queue.push_back(next->dependency(i));
    }
  }
}

void answer_extension(const grpc::reflection::v1::ExtensionRequest& asked, Sent& sent,
                      ServerReflectionResponse& response) {
  const pb::DescriptorPool* pool = pb::DescriptorPool::generated_pool();
  const pb::Descriptor* type = pool->FindMessageTypeByName(asked.containing_type());
  const pb::FieldDescriptor* extension =
      type == nullptr ? nullptr : pool->FindExtensionByNumber(type, asked.extension_number());
  answer_file(extension == nullptr ? nullptr : extension->file(), asked.containing_type(), sent,
              response);
}

void answer_extension_numbers(const std::string& type_name, ServerReflectionResponse& response) {
  const pb::DescriptorPool* pool = pb::DescriptorPool::generated_pool();
  const pb::Descriptor* type = pool->FindMessageTypeByName(type_name);
  if (type == nullptr) {
    refuse(response, type_name);
    return;
  }
  auto* numbers = response.mutable_all_extension_numbers_response();
  numbers->set_base_type_name(type_name);
  std::vector<const pb::FieldDescriptor*> extensions;
  pool->FindAllExtensions(type, &extensions);
  std::set<int> ordered;
  for (const pb::FieldDescriptor* extension : extensions) {
    ordered.insert(extension->number());
  }
  for (int number : ordered) {
    numbers->add_extension_number(number);
  }
}

Result<ServerReflectionResponse> answer(const Registry& registry, Sent& sent,
                                        const ServerReflectionRequest& request) {
  const pb::DescriptorPool* pool = pb::DescriptorPool::generated_pool();
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kFileByFilename:
      answer_file(pool->FindFileByName(request.file_by_filename()), request.file_by_filename(),
                  sent, response);
      break;
    case ServerReflectionRequest::kFileContainingSymbol:
      answer_file(pool->FindFileContainingSymbol(request.file_containing_symbol()),
                  request.file_containing_symbol(), sent, response);
      break;
    case ServerReflectionRequest::kFileContainingExtension:
      answer_extension(request.file_containing_extension(), sent, response);
      break;
    case ServerReflectionRequest::kAllExtensionNumbersOfType:
      answer_extension_numbers(request.all_extension_numbers_of_type(), response);
      break;
    case ServerReflectionRequest::kListServices: {
      std::set<std::string> names;
      for (const pb::ServiceDescriptor* service : registry.described) {
        names.insert(service->full_name());
      }
      auto* list = response.mutable_list_services_response();
      for (const std::string& name : names) {
        list->add_service()->set_name(name);
      }
      break;
    }
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      return invalid_argument("invalid MessageRequest: <nil>");
  }
  return response;
}

}  // namespace

void Server::add_reflection() {
  std::weak_ptr<const Registry> weak = core_->registry;
  auto serve = [weak](const ReflectionStream& stream) {
    auto sent = std::make_shared<Sent>();
    std::weak_ptr<ServerStream> raw = stream.raw();
    stream.on_message([weak, sent, raw](const ServerReflectionRequest& request) {
      auto registry = weak.lock();
      auto open = raw.lock();
      if (!registry || !open) {
        return;
      }
      Result<ServerReflectionResponse> response = answer(*registry, *sent, request);
      if (response.ok()) {
        open->send(response->SerializeAsString());
      } else {
        open->finish(std::move(response.error()));
      }
    });
    stream.on_half_close([raw] {
      if (auto open = raw.lock()) {
        open->finish({});
      }
    });
  };
  add_stream<ServerReflectionRequest, ServerReflectionResponse>(
      *this, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", serve);
  add_stream<ServerReflectionRequest, ServerReflectionResponse>(
      *this, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", serve);
  describe(ServerReflectionRequest::descriptor()->file()->service(0));
  describe(grpc::reflection::v1alpha::ServerReflectionRequest::descriptor()->file()->service(0));
}

}  // namespace steeple::rpc
