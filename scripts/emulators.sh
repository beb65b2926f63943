# shellcheck shell=bash
# What the tests use and is no Python package; run.sh sources this file.

# Later ones need a newer Node.js than Debian 12 and 13 have.
AZURITE=3.35.0

install_node_when_root() {
  if command -v npm >/dev/null; then return; fi
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then return; fi
  tell "installing the Debian packages nodejs and npm, for a server of Azure Blob Storage"
  if ! apt-get update -qq || ! DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends nodejs npm; then
    tell "they could not be installed"
  fi
}

has_azurite() {
  grep -qs "\"version\": \"$AZURITE\"" .venv/azurite/node_modules/azurite/package.json
}

# npm's own cache lies outside the checkout, so it is used only where it was asked for.
npm_install() {
  npm_config_cache=${npm_config_cache:-$PWD/.venv/npm} npm_config_update_notifier=false \
    npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts \
    --prefix .venv/azurite "azurite@$AZURITE" || tell "npm failed"
  rm -rf .venv/npm
}

install_azurite() {
  if has_azurite; then return; fi
  install_node_when_root
  if ! command -v npm >/dev/null; then
    tell "npm is missing: the tests of Azure Blob Storage are skipped (install nodejs and npm)"
    return
  fi
  tell "installing azurite $AZURITE into .venv"
  mkdir -p .venv/azurite
  npm_install
  has_azurite || tell "it could not be installed: the tests of Azure Blob Storage are skipped"
}

has_libfaketime() {
  compgen -G "/usr/lib/*/faketime/libfaketimeMT.so.1" >/dev/null
}

install_libfaketime_when_root() {
  if has_libfaketime; then return; fi
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    tell "installing the Debian package libfaketime, for clocks that jump"
    if ! apt-get update -qq || ! DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
      --no-install-recommends libfaketime; then
      tell "it could not be installed"
    fi
  fi
  has_libfaketime || tell "libfaketime is missing: the tests of clocks that jump are skipped"
}
