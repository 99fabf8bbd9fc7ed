// SPDX-License-Identifier: Apache-2.0

#include "lib/cli/privileges.h"

#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <vector>

namespace steeple::cli {
namespace {

constexpr int kCapabilitiesMax = 64;

#if defined(__x86_64__)
constexpr std::uint32_t kInstructionSet = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kInstructionSet = AUDIT_ARCH_AARCH64;
#else
constexpr std::uint32_t kInstructionSet = 0;
#endif

// What opens other processes or the kernel, changes the machine, or has a record of holes, and is
// called neither by us nor by a library of ours.
constexpr auto kForbidden = std::to_array<long>({
// The leak checker of the address sanitizer stops its own threads with it.
#if !defined(__SANITIZE_ADDRESS__)
    SYS_ptrace,
#endif
    // Other processes' memory and files.
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_pidfd_getfd,
    SYS_kcmp,
    // Code for the kernel.
    SYS_kexec_load,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_bpf,
#if defined(SYS_kexec_file_load)
    SYS_kexec_file_load,
#endif
    // Large parts of the kernel that we have no use for.
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_fanotify_init,
    // Mounts and namespaces, and the way around them.
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_move_mount,
    SYS_open_tree,
    SYS_mount_setattr,
    SYS_setns,
    SYS_unshare,
    SYS_open_by_handle_at,
    // The machine itself.
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_syslog,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_vhangup,
#if defined(__x86_64__)
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
#endif
});

constexpr std::uint32_t load(std::size_t offset) { return static_cast<std::uint32_t>(offset); }

sock_filter statement(int code, std::uint32_t value) {
  return {static_cast<std::uint16_t>(code), 0, 0, value};
}

// When the loaded word stands in this relation to `value`, the next instruction runs, else the one
// after it.
sock_filter only_when(int relation, std::uint32_t value) {
  return {static_cast<std::uint16_t>(BPF_JMP | relation | BPF_K), 0, 1, value};
}

std::vector<sock_filter> filter() {
  constexpr std::uint32_t kForeignCall = 0x40000000;  // the x32 calls of an x86-64 kernel
  const auto answer = [](int error) {
    return statement(BPF_RET | BPF_K,
                     SECCOMP_RET_ERRNO | (static_cast<std::uint32_t>(error) & SECCOMP_RET_DATA));
  };
  const auto word = [](std::size_t offset) {
    return statement(BPF_LD | BPF_W | BPF_ABS, load(offset));
  };
  std::vector<sock_filter> out = {
      word(offsetof(seccomp_data, arch)),
      // Jumps over the refusal when it is our own instruction set.
      {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, kInstructionSet},
      answer(EPERM),
      word(offsetof(seccomp_data, nr)),
      only_when(BPF_JGE, kForeignCall),
      answer(EPERM),
      only_when(BPF_JEQ, SYS_clone3),
      answer(ENOSYS),
  };
  for (long call : kForbidden) {
    out.push_back(only_when(BPF_JEQ, static_cast<std::uint32_t>(call)));
    out.push_back(answer(EPERM));
  }
  // A new user namespace would bring all capabilities back, inside of it.
  out.push_back({BPF_JMP | BPF_JEQ | BPF_K, 0, 3, SYS_clone});
  out.push_back(word(offsetof(seccomp_data, args)));  // flags; the lower half: little endian
  out.push_back(only_when(BPF_JSET, CLONE_NEWUSER));
  out.push_back(answer(EPERM));
  out.push_back(statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  return out;
}

}  // namespace

Result<void> keep_capabilities(std::span<const int> keep) {
  const auto kept = [keep](int capability) {
    return std::ranges::find(keep, capability) != keep.end();
  };
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) {
    return errno_error(errno, "capget");
  }
  // The bounding set first, while CAP_SETPCAP is there. Who has not got it (an ordinary user) gains
  // nothing from the bounding set either: that takes a set-user-id program, and no-new-privs.
  const bool may_bound = (sets[0].effective & (1U << CAP_SETPCAP)) != 0;
  for (int i = 0; may_bound && i < kCapabilitiesMax; ++i) {
    if (!kept(i) && ::prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1 &&
        ::prctl(PR_CAPBSET_DROP, i, 0, 0, 0) != 0) {
      return errno_error(errno, "PR_CAPBSET_DROP");
    }
  }
  std::array<std::uint32_t, _LINUX_CAPABILITY_U32S_3> mask{};
  for (int capability : keep) {
    mask[static_cast<std::size_t>(capability) / 32] |= 1U << (capability % 32);
  }
  for (std::size_t i = 0; i < sets.size(); ++i) {
    sets[i].permitted &= mask[i];
    sets[i].effective = sets[i].permitted;
    sets[i].inheritable = 0;  // what is ambient goes with it
  }
  if (::syscall(SYS_capset, &header, sets.data()) != 0) {
    return errno_error(errno, "capset");
  }
  return {};
}

Result<void> forbid_system_calls() {
  if (kInstructionSet == 0) {
    return unimplemented("no filter for this instruction set");
  }
  std::vector<sock_filter> instructions = filter();
  sock_fprog program{static_cast<unsigned short>(instructions.size()), instructions.data()};
  // For all threads, should a library have started one.
  long result =
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
  if (result > 0) {
    return internal("a thread has a system call filter of its own");
  }
  if (result < 0) {
    return errno_error(errno, "seccomp");
  }
  return {};
}

}  // namespace steeple::cli
