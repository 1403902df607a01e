# Sourced by quickstart.sh and test.sh: `setup EXTRAS` makes .venv if absent and installs the package.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

setup() {
    local extras=$1 python=${PYTHON:-python3}
    # what is installed is remembered by the content of setup.py, so that a second call is instant
    local stamp
    stamp=.venv/.installed-$extras-$(cksum < setup.py | cut -d' ' -f1)
    if [ ! -e "$stamp" ]; then
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
            echo "Python 3.10 or newer is needed; name one with PYTHON=/path/to/python" >&2
            exit 1
        }
        [ -x .venv/bin/python ] || "$python" -m venv .venv
        echo "Installing into .venv (torch is large: a few minutes) ..."
        # Python compiles what is imported; all that is installed takes as long as the download
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
            -e ".[$extras]"
        touch "$stamp"
    fi
    export PATH="$PWD/.venv/bin:$PATH"
}
