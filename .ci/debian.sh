# What the scripts beside this one share; it is sourced.

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() { say "error: $*"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

# Runs a command without a word; shows what it said when it fails.
quiet() {
    "$@" >"$work/log" 2>&1 </dev/null && return 0
    say "failed: $*"
    tail -n 40 "$work/log" >&2
    return 1
}

readonly apt_install=(
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120
)

# The machine's own entry for bookworm's main, in its own format, with @SUITE@ for the suite and @COMPONENT@ for main.
entry_of() { # FILE
    case $1 in
    *.sources)
        awk '
            BEGIN { RS = ""; FS = "\n" }
            {
                entry = types = suites = components = ""; enabled = "yes"; copied = 0
                for (i = 1; i <= NF; i++) {
                    if ($i ~ /^#/) continue
                    if ($i ~ /^[ \t]/) { if (copied) entry = entry $i "\n"; continue }
                    name = tolower(substr($i, 1, index($i, ":") - 1))
                    value = " " substr($i, index($i, ":") + 1) " "
                    copied = 0
                    if (name == "types") types = value
                    else if (name == "suites") suites = value
                    else if (name == "components") components = value
                    else if (name == "enabled") enabled = value
                    else { entry = entry $i "\n"; copied = 1 }
                }
                if (types ~ / deb / && suites ~ / bookworm / && components ~ / main / && enabled !~ / no /) {
                    printf "Types: deb\nSuites: @SUITE@\nComponents: @COMPONENT@\n%s", entry
                    exit
                }
            }' "$1"
        ;;
    *.list)
        sed -nE 's/^[ \t]*deb[ \t]+(\[[^]]*\][ \t]+)?([^ \t]+)[ \t]+bookworm[ \t]+([^#]*[ \t])?main([ \t].*)?$/deb \1\2 @SUITE@ @COMPONENT@/p' "$1" |
            awk 'NR == 1'
        ;;
    esac
}

# Writes the list of sources for one suite into a folder and prints its path.
write_sources() { # SUITE COMPONENT FOLDER
    local file entry
    for file in /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -e "$file" ] || continue
        entry=$(entry_of "$file")
        [ -n "$entry" ] || continue
        entry=${entry//@SUITE@/$1}
        printf '%s\n' "${entry//@COMPONENT@/$2}" >"$3/other.${file##*.}"
        printf '%s\n' "$3/other.${file##*.}"
        return 0
    done
    say "no entry for bookworm's main in /etc/apt/sources.list or /etc/apt/sources.list.d"
    return 1
}

# Downloads and unpacks packages of another suite, with lists of sources and a state of apt of their own, so that the
# machine's apt never sees them.
unpack_from() { # SUITE COMPONENT FOLDER PACKAGE...
    local sources into=$3 package
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$into"
    sources=$(write_sources "$1" "$2" "$work")
    local apt=(
        apt-get -q -o Acquire::Retries=3 -o APT::Sandbox::User= -o Debug::NoLocking=true
        -o "Dir::Etc::sourcelist=$sources" -o Dir::Etc::sourceparts=-
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache"
    )
    quiet "${apt[@]}" update
    (cd "$work" && quiet "${apt[@]}" download "${@:4}")
    for package in "$work"/*.deb; do
        quiet dpkg-deb --extract "$package" "$into"
        rm "$package"
    done
}
