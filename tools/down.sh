#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# `./dev down`: ends what `./dev up` started, by its pid files, and only if the process is still
# one of ours. Data under .run/ stays; `./dev clean` removes it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for name in backend agent server; do
  file=.run/$name.pid
  [ -f "$file" ] || continue
  pid=$(cat "$file")
  case "$(readlink "/proc/$pid/exe" 2>/dev/null | sed "s/ (deleted)$//" || true)" in
    "$PWD"/build/* | "$PWD"/.run/bin/*)
      kill "$pid"
      for _ in $(seq 100); do
        [ -d "/proc/$pid" ] || break
        sleep 0.1
      done
      if [ -d "/proc/$pid" ]; then kill -9 "$pid"; fi
      echo "$name stopped"
      ;;
  esac
  rm -f "$file"
done
