#!/bin/sh
# Debian packages that some tests use (a browser, an ssh server, network namespaces, a terminal, LaTeX; without them those
# tests skip), and the one that makes virtual environments.
set -eu
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "debian.sh: needs root and apt-get; tests that need chromium, sshd or ip will be skipped." >&2
    exit 0
fi
missing=""
python3 -c "import ensurepip" 2>/dev/null || missing="$missing python3-venv"
command -v chromium >/dev/null || missing="$missing chromium"
[ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
command -v ip >/dev/null || missing="$missing iproute2"
command -v tmux >/dev/null || missing="$missing tmux"
command -v pdflatex >/dev/null || missing="$missing texlive-latex-recommended"
[ -n "$missing" ] || exit 0
export DEBIAN_FRONTEND=noninteractive
# An ssh server that a test starts for itself is wanted, not one for the machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
# shellcheck disable=SC2086  # a list of words
if apt-get update -qq && apt-get install -qq -y --no-install-recommends $missing; then
    echo "debian.sh: installed$missing"
else
    echo "debian.sh: could not install$missing; tests that need them will be skipped." >&2
fi
