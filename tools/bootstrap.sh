# Sourced by the scripts at the top of the repository, never run:
#
#     source tools/bootstrap.sh          # finds or installs uv, defines the functions below
#     wicketgate_sync [UV_SYNC_ARGUMENT…]   # brings .venv in step with uv.lock; says nothing if it is
#
# Afterwards `uv` is on PATH, and WICKETGATE_PYTHON is the interpreter of the locked environment. It works with an empty
# home folder and without one: what is downloaded goes to $XDG_CACHE_HOME, ~/.cache, or .wicketgate/cache.

WICKETGATE_UV_VERSION=0.13.9 # installed where PATH has no uv of at least the next line's version
WICKETGATE_UV_OLDEST=0.9

# Where it is set, every process would compile all of the environment's modules anew: seconds each.
unset PYTHONDONTWRITEBYTECODE

WICKETGATE_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
WICKETGATE_PYTHON="$WICKETGATE_ROOT/.venv/bin/python"

wicketgate_say() { printf '  %s\n' "$*" >&2; }
wicketgate_die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# A home folder that cannot be used (unset, missing, read-only) would fail deep inside pip, uv or go.
wicketgate_cache() {
  if [[ ${XDG_CACHE_HOME:-} != /* ]]; then
    if [[ ${HOME:-} == /* && -d $HOME && -w $HOME ]]; then
      XDG_CACHE_HOME="$HOME/.cache"
    else
      XDG_CACHE_HOME="$WICKETGATE_ROOT/.wicketgate/cache"
      export GOPATH="${GOPATH:-$XDG_CACHE_HOME/gopath}" GOCACHE="${GOCACHE:-$XDG_CACHE_HOME/go-build}"
    fi
    export XDG_CACHE_HOME
  fi
  mkdir -p "$XDG_CACHE_HOME" || wicketgate_die "cannot write to the cache folder \`$XDG_CACHE_HOME\`; set XDG_CACHE_HOME"
}

# Sets WICKETGATE_SYSTEM_PYTHON to a Python of at least 3.11, or to nothing.
wicketgate_find_python() {
  local name
  WICKETGATE_SYSTEM_PYTHON=
  for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      WICKETGATE_SYSTEM_PYTHON="$(command -v "$name")"
      return
    fi
  done
}

# Whether version $1 is at least $2.
wicketgate_at_least() { [[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" == "$2" ]]; }

wicketgate_find_uv() {
  local found version folder scratch
  if found="$(command -v uv)"; then
    version="$("$found" --version 2>/dev/null | cut -d ' ' -f 2)"
    if [[ $version =~ ^[0-9]+\.[0-9]+ ]] && wicketgate_at_least "$version" "$WICKETGATE_UV_OLDEST"; then return; fi
  fi
  folder="$XDG_CACHE_HOME/wicketgate/uv-$WICKETGATE_UV_VERSION"
  if [[ ! -x $folder/bin/uv ]] || ! "$folder/bin/uv" --version >/dev/null 2>&1; then
    wicketgate_find_python
    [[ -n $WICKETGATE_SYSTEM_PYTHON ]] ||
      wicketgate_die 'there is neither uv nor a Python of at least 3.11 on PATH; install one of them and try again'
    wicketgate_say "installing uv $WICKETGATE_UV_VERSION"
    mkdir -p "${folder%/*}"
    scratch="$(mktemp -d "$folder.XXXXXX")"
    # --target rather than a virtual environment: Debian's python3 comes without venv, and the folder can be renamed.
    if ! "$WICKETGATE_SYSTEM_PYTHON" -m pip --version >/dev/null 2>&1; then
      "$WICKETGATE_SYSTEM_PYTHON" -m venv "$scratch/venv" >/dev/null 2>&1 ||
        wicketgate_die "\`$WICKETGATE_SYSTEM_PYTHON\` has neither pip nor venv; install uv, or python3-venv, and try again"
      WICKETGATE_SYSTEM_PYTHON="$scratch/venv/bin/python"
    fi
    "$WICKETGATE_SYSTEM_PYTHON" -m pip install --quiet --disable-pip-version-check --no-warn-script-location --root-user-action=ignore \
      --target "$scratch/uv" "uv==$WICKETGATE_UV_VERSION" >&2 ||
      wicketgate_die "uv $WICKETGATE_UV_VERSION could not be installed with pip; install uv yourself and try again"
    # Another run may have been faster; either result is the same.
    mv -T "$scratch/uv" "$folder" 2>/dev/null || [[ -x $folder/bin/uv ]] ||
      wicketgate_die "uv could not be put into \`$folder\`; remove that folder and try again"
    rm -rf "$scratch"
  fi
  export PATH="$folder/bin:$PATH"
}

# The dependency groups that this machine can have beside the default ones: the native core needs a Rust compiler.
wicketgate_groups() {
  if command -v cargo >/dev/null && command -v cc >/dev/null; then
    printf -- '--group native'
  else
    wicketgate_say 'no Rust and C compiler on PATH: the pure-Python parser takes over, with statements up to 8 KB'
  fi
}

wicketgate_sync() {
  # VIRTUAL_ENV of another project would draw a warning from uv on each run.
  unset VIRTUAL_ENV
  if (cd "$WICKETGATE_ROOT" && uv sync --frozen --check --quiet "$@") >/dev/null 2>&1; then return; fi
  wicketgate_say 'installing the locked Python environment into .venv'
  (cd "$WICKETGATE_ROOT" && uv sync --frozen "$@" >&2) ||
    wicketgate_die 'the locked Python environment could not be installed; the lines above say why'
}

wicketgate_cache
wicketgate_find_uv
