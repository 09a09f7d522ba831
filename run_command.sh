#!/usr/bin/env bash
# run_command.sh JOB [arguments]: sets up .venv beside this file on first use, then runs that job.
# `help` lists the jobs. Works from any folder; relative paths in the arguments mean that folder.
#
#   FACEMELD_PYTHON       the Python to set up with; without it the first that fits on the PATH
#   FACEMELD_TORCH_INDEX  the package index for PyTorch, added to pip's own; empty: pip's own only.
#                         Without it: PyTorch's small CPU builds on Linux without an NVIDIA GPU
set -euo pipefail
unset CDPATH

# One job a line. Extras are those of pyproject.toml, with commas between them, or `-`.
job_table() {
    local row=$1
    #    job               extras    what it does                        command
    $row demo              -         "fuse bundled faces: results/demo/" facemeld demo
    $row test dev,reports,train      "run the tests with pytest"         pytest_in_project
    $row fuse              onnx      "fuse a source with references"     facemeld fuse
    $row grid              -         "a sheet of sources and references" facemeld grid
    $row video       faces,video     "a video of faces turning into others" facemeld video
    $row train             train     "train on your folders of faces"    facemeld train
    $row distil            train     "a small model that imitates one"   facemeld distil
    $row evaluate          reports   "score a model, with a report"      facemeld evaluate
    $row compare           reports   "several runs in one report"        facemeld compare
    $row train-faces-64    train     "train like the bundled model" facemeld train --preset faces-64
    $row cross-human-animal train  "a model of people, fed animals" cross_kinds "woman man" "cat dog wild"
    $row cross-animal-human train  "a model of animals, fed people" cross_kinds "cat dog wild" "woman man"
    $row align             faces     "find and align faces"              facemeld align
    $row prepare           faces     "photographs to training pictures" facemeld prepare
    $row download          -         "list or fetch data and weights"    facemeld download
    $row export            export    "graphs that run without PyTorch"   facemeld export
    $row ui                ui        "the studio: fuse in a browser"     facemeld ui
    $row import-stargan-v2 -         "official checkpoint to a model"    facemeld import-stargan-v2
    $row info              -         "what a model is and came from"     facemeld info
    $row presets           -         "list the training presets"         facemeld presets
    $row bench             train     "what a picture costs here"         facemeld bench
    $row facemeld          -         "any other command; see its --help" facemeld
}

cross_kinds() { # own domains, foreign domains, arguments of `facemeld cross`
    local own=$1 foreign=$2
    shift 2
    # shellcheck disable=SC2086  # the domains are words
    facemeld cross --own $own --foreign $foreign "$@"
}
facemeld() { exec "$venv/bin/facemeld" "$@"; }
pytest_in_project() { # a worker a core of the smallest machine that this is for, a thread each
    cd "$root" && export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
    [ $# -eq 0 ] || exec python -m pytest --numprocesses 2 --dist loadfile "$@"
    python -m pytest --numprocesses 2 --dist loadfile -m "not alone" || exit
    exec python -m pytest -m alone # what waits for the clock has no other test beside it
}

say() { printf 'facemeld: %s\n' "$*" >&2; }
fail() { # what, fix
    printf 'facemeld: %s\n  fix:   %s\n' "$1" "$2" >&2
    exit 2
}

project_folder() { # of this file, behind any symbolic links to it
    local file=${BASH_SOURCE[0]} target
    while [ -L "$file" ]; do
        target=$(readlink "$file")
        case $target in /*) file=$target ;; *) file=$(dirname "$file")/$target ;; esac
    done
    cd -P "$(dirname "$file")" && pwd
}

show_help() {
    printf 'usage: run_command.sh JOB [arguments]\n\njobs:\n'
    job_table show_row
    printf '  %-18s %s\n' help "this list"
}
show_row() { printf '  %-18s %s\n' "$1" "$3"; }

find_job() { # sets extras and action
    extras='' action=()
    job_table match_row
    [ ${#action[@]} -gt 0 ] && return
    printf 'facemeld: there is no job "%s"\n\n' "$job" >&2
    show_help >&2
    exit 2
}
match_row() {
    [ "$1" = "$job" ] || return 0
    [ "$2" = - ] || extras=$2
    shift 3
    action=("$@")
}

# The stamp is three lines: the project folder (a moved .venv does not work), a checksum of what was
# asked of pip, the extras installed. It says `unfinished` until a set-up has come to its end.
stamp_line() { [ -r "$stamp" ] && sed -n "${1}p" "$stamp"; }
checksum() { cat "$root/pyproject.toml" "$root/constraints.txt" | cksum; }

is_set_up() {
    local folder='' sum='' have='' extra
    [ -x "$venv/bin/python" ] && [ -r "$stamp" ] || return 1
    { IFS= read -r folder && IFS= read -r sum && IFS= read -r have; } <"$stamp" || return 1
    [ "$folder" = "$root" ] && [ "$sum" = "$(checksum)" ] || return 1
    for extra in ${extras//,/ }; do
        case ",$have," in *",$extra,"*) ;; *) return 1 ;; esac
    done
}

find_python() {
    local fits='import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'
    local candidate candidates=(python3 python3.13 python3.12 python3.11 python3.14 python) bare=''
    [ -z "${FACEMELD_PYTHON-}" ] || candidates=("$FACEMELD_PYTHON")
    for candidate in "${candidates[@]}"; do
        "$candidate" -c "$fits" >/dev/null 2>&1 || continue
        if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        fi
        bare=$candidate
    done
    [ -z "$bare" ] || fail "$bare has no venv module" \
        "install it, on Debian and Ubuntu: sudo apt install python3-venv"
    fail "no Python 3.11 to 3.14 found (looked for ${candidates[*]})" \
        "install one, or name it: FACEMELD_PYTHON=/path/to/python3.12 ./run_command.sh $job"
}

torch_index() { # prints the index to add, or nothing
    local cpu_builds=https://download.pytorch.org/whl/cpu
    if [ -n "${FACEMELD_TORCH_INDEX+set}" ]; then
        printf '%s' "$FACEMELD_TORCH_INDEX"
    elif [ "$(uname -s)" = Linux ] && ! nvidia-smi -L >/dev/null 2>&1; then
        # Without an answer pip's own configuration decides: a mirror, a folder of wheels.
        "$venv/bin/python" -c "import urllib.request as request
request.urlopen('$cpu_builds/torch/', timeout=3)" >/dev/null 2>&1 && printf '%s' "$cpu_builds"
    fi
    return 0
}

set_up() {
    local python='' have='' index
    if [ -x "$venv/bin/python" ] && [ "$(stamp_line 1)" = "$root" ]; then
        have=$(stamp_line 3)
    elif [ ! -x "$venv/bin/python" ] || [ -e "$stamp" ]; then # absent, unfinished or moved
        python=$(find_python)
        say "making $venv with $("$python" --version)"
        {
            rm -rf "$venv" && mkdir "$venv" && echo unfinished >"$stamp" &&
                "$python" -m venv "$venv" >&2
        } || fail "could not make $venv" "see the lines above"
    fi # else somebody made .venv by hand: installed into, never removed
    echo unfinished >"$stamp"
    # shellcheck disable=SC2086  # one word an extra
    extras=$(printf '%s\n' ${extras//,/ } ${have//,/ } | sort -u | paste -s -d , -)
    index=$(torch_index)
    say "installing what $job needs${python:+; with PyTorch this takes a few minutes}"
    (cd "$root" && "$venv/bin/python" -m pip install -qq --no-input --disable-pip-version-check \
        ${index:+--extra-index-url "$index"} -c constraints.txt -e ".${extras:+[$extras]}" >&2) ||
        fail "pip could not install what $job needs" "see the lines above, then run this again"
    printf '%s\n' "$root" "$(checksum)" "$extras" >"$stamp"
    say "set up in $SECONDS s"
}

set_up_alone() { # two first uses at once: the second waits, then finds nothing left to do
    exec 9<"$root/pyproject.toml"
    if command -v flock >/dev/null && ! flock -n 9; then
        say "another set-up of $root is running; waiting for it"
        flock 9 || true
    fi
    is_set_up || set_up
    exec 9<&-
}

job=${1-}
case $job in
help | -h | --help) show_help; exit ;;
'') show_help >&2; exit 2 ;;
esac
shift
root=$(project_folder)
venv=$root/.venv
stamp=$venv/.facemeld-set-up
find_job
is_set_up || set_up_alone
unset PYTHONHOME
export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
"${action[@]}" "$@"
