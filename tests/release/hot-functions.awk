# How the functions of packaging/hot-functions.txt (first file) are called in this build (second file:
# the map of lld), in their order. See tests/release/compile.sh.

function without_hashes(name) {
    gsub(/Cs[0-9A-Za-z]+_/, "Cs*_", name)
    sub(/17h[0-9a-f]+E$/, "17h*E", name)
    return name
}

FILENAME == ARGV[1] {
    if ($0 !~ /^#/) { place[$0] = ++count }
    next
}

# Address, address when loaded, size, alignment, name.
NF == 5 && $5 !~ /:\(/ {
    wanted = without_hashes($5)
    if (wanted in place && !($5 in seen)) {
        seen[$5] = 1
        at = place[wanted]
        names[at] = names[at] $5 "\n"
    }
}

END { for (i = 1; i <= count; i++) { printf "%s", names[i] } }
