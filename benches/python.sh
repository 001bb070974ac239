# Sourced by ./run and the benches, from the repository's root.

# A virtual environment with pinned packages, made once per list of requirements; prints its python.
python_env() {
    local requirements=$1
    local venv=${CARGO_TARGET_DIR:-target}/venv-$(cksum < "$requirements" | cut -d' ' -f1)
    if [ ! -f "$venv/ready" ]; then
        command -v python3 >/dev/null || { echo "this needs python3" >&2; exit 1; }
        python3 -m venv "$venv" >&2
        "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" >&2
        touch "$venv/ready"
    fi
    printf '%s/bin/python' "$venv"
}
