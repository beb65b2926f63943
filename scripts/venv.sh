# shellcheck shell=bash
# The virtual environment of `run.sh local` and `run.sh test`; run.sh sources this file.

export PIP_DISABLE_PIP_VERSION_CHECK=1
# pip's own cache lies outside the checkout, so it is used only where it was asked for.
if [ -z "${PIP_CACHE_DIR:-}" ]; then export PIP_NO_CACHE_DIR=1; fi

# A name on PATH proves nothing: a version manager's shim may lead nowhere, and Debian's Python
# lacks ensurepip until python3-venv is installed.
is_suitable_python() {
  "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
    >/dev/null 2>&1
}

find_python() {
  local name candidate
  for name in python3.13 python3.12 python3.11 python3 python; do
    while read -r candidate; do
      if is_suitable_python "$candidate"; then
        tell "$candidate"
        return
      fi
    done < <(type -ap "$name")
  done
  return 1
}

install_python_when_root() {
  if venv_is_usable || find_python >/dev/null; then return; fi
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then return; fi
  tell "installing the Debian packages python3 and python3-venv"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv
}

# An environment that was moved or copied has scripts that start another place's Python.
venv_is_usable() {
  [ -x .venv/bin/python ] && grep -qsF "$PWD/.venv/bin/python" .venv/bin/pip &&
    is_suitable_python .venv/bin/python
}

make_venv() {
  local python
  if venv_is_usable; then return; fi
  python=$(find_python) || stop "no Python 3.11 to 3.13 with venv on PATH." \
    "Install one (Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.12)."
  tell "making .venv with $("$python" -V) ($python)"
  rm -rf .venv
  "$python" -m venv .venv
}

# What an installation was made for; when this has not changed, pip need not be asked.
wanted_state() {
  printf '%s|%s|%s' "$PWD" "$(.venv/bin/python -V 2>&1)" "$(cksum <pyproject.toml)"
}

is_installed() {
  [ -r ".venv/.installed-$1" ] && [ "$(cat ".venv/.installed-$1")" = "$(wanted_state)" ]
}

install_extra() { # embedded | dev; dev holds embedded
  if is_installed "$1" || is_installed dev; then return; fi
  make_venv
  tell "installing comfy-gateway[$1] into .venv"
  .venv/bin/python -m pip install --quiet --editable ".[$1]"
  wanted_state >".venv/.installed-$1"
}

# Docker's own package of 2021 is the one on the index that ships the compose-spec schema; its
# dependencies contradict ours, so it lies apart and only its data file is read.
install_compose_schema() {
  if [ -f .venv/compose-spec/compose/config/compose_spec.json ]; then return; fi
  .venv/bin/python -m pip install --quiet --no-deps --target .venv/compose-spec docker-compose==1.29.2
}
