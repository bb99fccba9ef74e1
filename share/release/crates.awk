# The crates of a Cargo.lock as the ports tree wants them: CARGO_CRATES of
# Makefile.crates. Packages without a source are this one.
/^name = /    { gsub(/"/, "", $3); name = $3 }
/^version = / { gsub(/"/, "", $3); version = $3 }
/^source = "registry\+/ { crates[++n] = name "-" version }
END {
	for (i = 1; i <= n; i++)
		printf "%s\t%s%s\n", i == 1 ? "CARGO_CRATES=" : "\t", crates[i], i == n ? "" : " \\"
}
