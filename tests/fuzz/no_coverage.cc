// SPDX-License-Identifier: Apache-2.0

// The compiler's coverage hook for programs of an instrumented build that are no fuzz targets.

extern "C" __attribute__((weak)) void __sanitizer_cov_trace_pc() {}
