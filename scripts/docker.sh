# shellcheck shell=bash
# `run.sh` with Docker: .env, folders, GPU, build, start, wait; run.sh sources this file.

GATEWAY_URL=http://127.0.0.1:3001
# Every folder below models/ that a stock ComfyUI looks into.
MODEL_FOLDERS="audio_encoders background_removal checkpoints classifiers clip clip_vision configs \
controlnet detection diffusers diffusion_models embeddings frame_interpolation geometry_estimation \
gligen hypernetworks latent_upscale_models loras model_patches optical_flow photomaker style_models \
t2i_adapter text_encoders unet upscale_models vae vae_approx"

start_in_docker() {
  need_docker
  write_env
  need_key
  make_folders
  need_gpu
  tell "building and starting; the first build fetches several GB"
  docker compose up -d --build
  wait_until_ready
  print_addresses
}

need_docker() {
  local answer
  if ! answer=$(docker info 2>&1 >/dev/null); then
    stop "no Docker engine answers (${answer##*$'\n'})." \
      "Install and start Docker Engine, or run without it: bash run.sh local"
  fi
  docker compose version >/dev/null 2>&1 ||
    stop "Docker is here, its compose plug-in is not: install docker-compose-plugin"
}

# --- .env ----------------------------------------------------------------------------------------

new_key="" # set when this run writes .env

random_key() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# The container's user; never root, also when root starts it.
owner() {
  case $(id -u) in
    0) tell "${SUDO_UID:-1000} ${SUDO_GID:-1000}" ;;
    *) tell "$(id -u) $(id -g)" ;;
  esac
}

filled_in() {
  local line uid gid
  read -r uid gid <<<"$(owner)"
  while IFS= read -r line; do
    case $line in
      API_KEYS=) line="API_KEYS=default:$new_key" ;;
      PUID=*) line="PUID=$uid" ;;
      PGID=*) line="PGID=$gid" ;;
      [A-Z]*=\~/*) line="${line%%=*}=$HOME/${line#*\~/}" ;;
    esac
    tell "$line"
  done <env.example
}

write_env() {
  if [ -f .env ]; then return; fi
  new_key=$(random_key)
  (umask 077 && filled_in >.env.new)
  mv .env.new .env
  tell "wrote .env, with a new API key; look through it"
}

# What compose will read: the shell's value, else the one in .env.
setting() {
  local value=${!1:-}
  if [ -z "$value" ]; then value=$(sed -n "s/^$1=//p" .env | tail -n 1); fi
  case $value in
    \"*\" | \'*\') value=${value:1:${#value}-2} ;;
    \~/*) value=$HOME/${value#\~/} ;;
  esac
  tell "$value"
}

need_key() {
  if [ -n "$(setting API_KEYS)$(setting API_KEYS_FILE)" ]; then return; fi
  case $(setting ALLOW_INSECURE) in
    true | True | TRUE | 1 | yes | on) return ;;
  esac
  stop "no key in .env, and the gateway would be open to the network:" \
    "set API_KEYS=name:key there (or ALLOW_INSECURE=true)"
}

# --- folders -------------------------------------------------------------------------------------

make_folder() {
  if [ -d "$1" ]; then return; fi
  mkdir -p "$1" || return
  if [ "$(id -u)" = 0 ]; then chown "$(setting PUID):$(setting PGID)" "$1"; fi
}

make_model_folders() { # a share may well be read-only, and then holds what it holds
  local name
  for name in $MODEL_FOLDERS; do
    make_folder "$1/$name" 2>/dev/null || tell "left as it is: $1/$name cannot be made"
  done
}

make_folders() {
  local pair folder
  for pair in MODEL_DIR=models OUTPUT_DIR=output INPUT_DIR=input CACHE_DIR=cache \
    CUSTOM_NODES_DIR=custom_nodes STATE_DIR=state WORKFLOW_DIR=workflows; do
    folder=$(setting "${pair%%=*}")
    folder=${folder:-./${pair#*=}}
    make_folder "$folder" || stop "${pair%%=*}=$folder cannot be made"
    if [ "${pair%%=*}" = MODEL_DIR ]; then make_model_folders "$folder"; fi
  done
}

# --- GPU -----------------------------------------------------------------------------------------

need_gpu() {
  local gpus
  if [ "${SKIP_GPU_CHECK:-false}" = true ]; then return; fi
  command -v nvidia-smi >/dev/null ||
    stop "nvidia-smi is missing: install NVIDIA's driver, or run without a GPU: bash run.sh local"
  gpus=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>&1) ||
    stop "nvidia-smi finds no GPU: $gpus"
  tell "GPU: $gpus"
  # grep -q would close the pipe early, and docker's SIGPIPE would read as a failure.
  docker info 2>/dev/null | grep -i nvidia >/dev/null ||
    stop "Docker cannot hand the GPU on: install the NVIDIA Container Toolkit, then" \
      "'nvidia-ctk runtime configure --runtime=docker' and restart Docker (SKIP_GPU_CHECK=true goes on regardless)"
  warn_of_old_driver "$gpus"
}

warn_of_old_driver() {
  local version
  version=$(printf '%s\n' "$1" | head -n 1 | cut -d, -f2 | tr -d ' ')
  case ${version%%.*} in
    "" | *[!0-9]*) return ;;
  esac
  if [ "${version%%.*}" -ge 580 ] || [ -n "$(setting BASE_IMAGE)" ]; then return; fi
  tell "driver $version is older than CUDA 13 wants (580): update it, or name an older BASE_IMAGE in .env"
}

# --- waiting -------------------------------------------------------------------------------------

# The body of /ready, then its status on a line of its own; 000 when nothing listens.
ask_ready() { curl -s -m 5 -w '\n%{http_code}' "$GATEWAY_URL/ready" || true; }

text_field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }

# "starting: ..." of {"status": "not ready", "reason": "starting", "detail": "..."}.
reason_in() {
  local body=${1%$'\n'*} reason detail
  if [ -z "$body" ]; then
    tell "nothing listens on $GATEWAY_URL yet"
    return
  fi
  reason=$(printf '%s\n' "$body" | text_field reason)
  detail=$(printf '%s\n' "$body" | text_field detail)
  tell "${reason:-$body}${detail:+: $detail}"
}

container_state() {
  local id
  id=$(docker compose ps --all --quiet gateway)
  if [ -z "$id" ]; then
    tell missing
  else
    docker inspect --format '{{.State.Status}}' "$id"
  fi
}

wait_until_ready() {
  local answer reason last="" started=$SECONDS limit=${READY_TIMEOUT_S:-900}
  while true; do
    answer=$(ask_ready)
    if [ "${answer##*$'\n'}" = 200 ]; then return; fi
    reason=$(reason_in "$answer")
    if [ "$reason" != "$last" ]; then tell "$((SECONDS - started)) s: $reason"; fi
    last=$reason
    case $(container_state) in
      running | created) ;;
      *)
        docker compose logs --tail 50 gateway
        stop "the container does not stay up; its last lines are above"
        ;;
    esac
    if [ $((SECONDS - started)) -ge "$limit" ]; then
      stop "not ready after $limit s ($reason); it goes on trying: bash run.sh status, bash run.sh logs"
    fi
    sleep 2
  done
}

# A key is shown once, when it is new: later runs may have their output kept somewhere.
key_to_show() {
  if [ -n "$new_key" ]; then
    tell "$new_key"
  elif [ -n "$(setting API_KEYS)$(setting API_KEYS_FILE)" ]; then
    tell "<your key>"
  fi
}

key_header() { if [ -n "$1" ]; then tell "-H 'Authorization: Bearer $1' "; fi; }

print_addresses() {
  tell "ready" \
    "" \
    "  gateway    $GATEWAY_URL (reference: /docs, metrics: /metrics)" \
    "  ComfyUI    http://127.0.0.1:8188 (from this machine only)" \
    "" \
    "a picture:" \
    "  curl -sS $GATEWAY_URL/prompt $(key_header "$(key_to_show)")-H 'Content-Type: application/json' -H 'Accept: image/png' -d @warmup/hello.json -o picture.png"
}

# --- the other commands --------------------------------------------------------------------------

need_env() { [ -f .env ] || stop "there is no .env yet: bash run.sh writes it and starts"; }

show_status() {
  local answer
  need_docker
  need_env
  docker compose ps
  answer=$(ask_ready)
  if [ "${answer##*$'\n'}" = 200 ]; then
    tell "ready"
  else
    stop "not ready: $(reason_in "$answer")"
  fi
}

follow_logs() {
  need_docker
  need_env
  exec docker compose logs --follow --tail 200 gateway
}

take_down() {
  need_docker
  need_env
  tell "stopping; running jobs get DRAIN_TIMEOUT_S to finish"
  docker compose down
}
