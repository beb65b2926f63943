#!/usr/bin/env bash
# Starts comfy-gateway; `bash run.sh help` lists the commands.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
cd "$(pwd -P)" # a virtual environment remembers the resolved path

tell() { printf '%s\n' "$@"; }
stop() {
  printf 'run.sh: %s\n' "$*" >&2
  exit 1
}

# shellcheck source=scripts/venv.sh
source scripts/venv.sh
# shellcheck source=scripts/docker.sh
source scripts/docker.sh
# shellcheck source=scripts/emulators.sh
source scripts/emulators.sh

print_help() {
  cat <<'HELP'
usage: bash run.sh [COMMAND]

  (none)    with Docker: write .env, make the folders, check the GPU, build, start, wait until ready
  status    the container, and what /ready says
  logs      follow the logs
  down      stop; jobs, pictures and models stay where they are
  local     without Docker: make .venv, start the gateway in the foreground
            (stock ComfyUI when COMFY_HOME or CMD is set, else the embedded engine)
  test      the whole suite; further arguments go to pytest
  help      this

settings of `bash run.sh` itself: READY_TIMEOUT_S (900), SKIP_GPU_CHECK (false)
HELP
}

# --- local ---------------------------------------------------------------------------------------

engine_name() {
  local engine=${ENGINE:-}
  if [ -z "$engine" ] && [ -n "${COMFY_HOME:-}${CMD:-}" ]; then engine=comfyui; fi
  if [ "$engine" != comfyui ]; then
    tell "the embedded engine (it draws, it does not diffuse; COMFY_HOME=/path/to/ComfyUI for the real one)"
  elif [ -n "${CMD:-}" ]; then
    tell "ComfyUI, started with: $CMD"
  else
    tell "stock ComfyUI in ${COMFY_HOME:-}"
  fi
}

url_host() {
  case ${HOST:-} in
    "" | 0.0.0.0 | ::) tell 127.0.0.1 ;;
    *:*) tell "[$HOST]" ;;
    *) tell "$HOST" ;;
  esac
}

start_local() {
  local key=""
  install_extra embedded
  export HOST=${HOST:-127.0.0.1} PORT=${PORT:-3000}
  if [ -n "${API_KEYS:-}${API_KEYS_FILE:-}" ]; then key=", with one of your keys, -H 'X-API-Key: ...'"; fi
  tell "engine: $(engine_name)" \
    "" \
    "a picture, once it is ready$key:" \
    "  curl -sS http://$(url_host):$PORT/prompt -H 'Content-Type: application/json' -H 'Accept: image/png' -d @warmup/hello.json -o picture.png" \
    ""
  exec .venv/bin/python -m gateway serve "$@"
}

# --- test ----------------------------------------------------------------------------------------

check() {
  tell "--- $*"
  "$@" || failed_checks="$failed_checks ${1##*/}"
}

run_tests() {
  local bin=.venv/bin failed_checks=""
  install_python_when_root
  install_extra dev
  install_compose_schema
  install_azurite
  install_libfaketime_when_root
  check $bin/ruff check .
  check $bin/ruff format --check .
  check $bin/mypy
  check $bin/lint-imports
  check $bin/shellcheck run.sh .ci/run scripts/comfyui scripts/*.sh
  check $bin/hadolint Dockerfile
  if [ -n "$failed_checks" ]; then stop "failed before the tests:$failed_checks"; fi
  tell "--- pytest"
  # More workers than cores: most tests wait for processes. Slow ones stand together: they are shared.
  exec .venv/bin/python -m pytest -n 3 --dist worksteal "$@"
}

main() {
  local command=${1:-up}
  if [ $# -gt 0 ]; then shift; fi
  case $command in
    up) start_in_docker ;;
    status) show_status ;;
    logs) follow_logs ;;
    down) take_down ;;
    local) start_local "$@" ;;
    test) run_tests "$@" ;;
    help | -h | --help) print_help ;;
    *)
      print_help >&2
      stop "there is no command '$command'"
      ;;
  esac
}

main "$@"
