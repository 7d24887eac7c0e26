#!/bin/sh
# symbols.sh NM LIBRARY [PROGRAM...]: fails when an object of the library needs a symbol that the
# library does not define and symbols.txt does not allow, or when a bare-metal program holds a
# function of a heap or of stdio.
set -eu
nm=$1 library=$2
shift 2
heap='_?(malloc|calloc|realloc|free|memalign|sbrk)(_r)?|f?(open|close|read|write|puts|printf)(_r)?'

"$nm" -A "$library" | awk '
    NR == FNR {
        if ($0 !~ /^#/ && NF > 1) { object[++rules] = "^(" $1 ")$"; symbol[rules] = "^(" $2 ")$" }
        next
    }
    {
        split($1, place, ":")
        name = place[2]
        sub(/\.o$/, "", name)
        if ($(NF - 1) == "U") { from[++needs] = name; needed[needs] = $NF }
        else if ($(NF - 1) ~ /[TDBRVW]/) defined[$NF] = 1
    }
    END {
        for (i = 1; i <= needs; i++) {
            ok = needed[i] in defined
            for (r = 1; r <= rules && !ok; r++) ok = from[i] ~ object[r] && needed[i] ~ symbol[r]
            if (!ok) { print "not allowed: " needed[i] " in " from[i]; bad = 1 }
        }
        if (!needs) { print "no symbols read"; bad = 1 }
        exit bad
    }' symbols.txt -

for program in "$@"; do
    if "$nm" "$program" | awk '{print $NF}' | grep -xE "$heap"; then
        echo "$program: holds functions of a heap or of stdio" >&2
        exit 1
    fi
done
