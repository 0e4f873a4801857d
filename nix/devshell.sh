# The environment of the dev shell: .venv, made once for each pyproject.toml and interpreter.
# Sourced by `nix develop` and `nix-shell`, in a shell of the person who works here: it must not end that.
hermesd_devshell() {
    local python stamp=.venv/.nix-stamp wanted
    python=$(command -v python3) || { echo "no python3 on PATH" >&2; return 1; }
    wanted="$(sha256sum pyproject.toml | cut -d' ' -f1) $(readlink -f "$python")"
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        echo "making .venv ..." >&2
        if ! { uv venv --quiet --allow-existing --python "$python" .venv &&
            uv pip install --quiet --python .venv/bin/python -e '.[test,dev]'; }; then
            echo "the environment is not complete: see above, then enter again" >&2
            return 1
        fi
        printf '%s\n' "$wanted" >"$stamp"
    fi
    export VIRTUAL_ENV="$PWD/.venv" PATH="$PWD/.venv/bin:$PATH"
}
if [ -f pyproject.toml ]; then
    hermesd_devshell || true
else
    echo "enter it from the root of the repository" >&2
fi
