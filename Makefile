# Works with FreeBSD make and GNU make alike: no conditionals, no functions.

PREFIX =	/usr/local
DESTDIR =
CARGO =		cargo
MANDOC =	mandoc

PROGRAMS =	jail-clone jail-destroy jail-doctor jail-epair-down jail-epair-up \
		jail-list jail-mkfstab jail-rebase jail-sweep skel-fetch skel-fixcerts \
		skel-split skel-update
MAN5 =		thinjail.conf.5
MAN7 =		thinjail.7
MAN8 =		jail-clone.8 jail-destroy.8 jail-doctor.8 jail-epair-down.8 \
		jail-epair-up.8 jail-list.8 jail-mkfstab.8 jail-rebase.8 jail-sweep.8 \
		skel-fetch.8 skel-fixcerts.8 skel-split.8 skel-update.8

# Quoted for the shell: DESTDIR may contain blanks.
TO =		"$(DESTDIR)$(PREFIX)"
# Where cargo puts release builds.
BUILT =		"$${CARGO_TARGET_DIR:-target}/release"
# For check-freebsd: an archive of a base, jib(8), patterns of cases. For
# bench-freebsd: jib(8), and share/bench/pair.c compiled, where there is no cc(1).
BASE_TXZ =
JIB =
K =
PAIR =

all:
	$(CARGO) build --release --locked --bins

# The tests need no network, no root and no FreeBSD.
check:
	$(CARGO) test --locked --features inject

# Looks for inputs that a parser takes badly: FUZZ_SECONDS each, 60 if not set.
fuzz:
	CARGO="$(CARGO)" sh tests/fuzz/run.sh

# On FreeBSD, as root, in a disposable machine; see tests/freebsd/README. Builds
# nothing either.
check-freebsd:
	PREFIX="$(PREFIX)" BASE_TXZ="$(BASE_TXZ)" JIB="$(JIB)" K="$(K)" sh tests/freebsd/run

# Every fault at every effect of every program; check tries a sample.
faults:
	THINJAIL_FAULTS=all $(CARGO) test --locked --features inject --test faults -- --nocapture

# Random sequences against the model, other ones each time; takes a while.
model:
	THINJAIL_MODEL_STEPS=$${THINJAIL_MODEL_STEPS:-1000000} THINJAIL_MODEL_SEED=$${THINJAIL_MODEL_SEED:-`date +%s`} \
	    $(CARGO) test --locked --features inject --test model -- --nocapture

lint:
	$(CARGO) fmt --check
	cd tests/fuzz && $(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --features inject -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

man-lint:
	cd man && $(MANDOC) -T lint -W warning $(MAN5) $(MAN7) $(MAN8)

demo:
	$(CARGO) build --quiet --locked --bins --examples
	sh share/demo/demo.sh "$${CARGO_TARGET_DIR:-target}/debug"

bench:
	$(CARGO) build --quiet --locked --release --bins --examples
	"$${CARGO_TARGET_DIR:-target}/release/examples/bench"

# On FreeBSD, as root, in a disposable machine: the hooks against ifconfig(8), against
# jib(8) if JIB names it, and against the same ioctls in C. Builds no program either.
bench-freebsd:
	PREFIX="$(PREFIX)" JIB="$(JIB)" PAIR="$(PAIR)" sh share/bench/freebsd.sh

# Builds nothing: what root installs was built by somebody else.
install:
	@for p in $(PROGRAMS); do \
	    test -x $(BUILT)/$$p || { echo "$$p is not built; run make first" >&2; exit 1; }; \
	done
	install -d -m 755 $(TO)/sbin $(TO)/etc $(TO)/etc/newsyslog.conf.d \
	    $(TO)/etc/periodic $(TO)/etc/periodic/weekly \
	    $(TO)/share/man/man5 $(TO)/share/man/man7 $(TO)/share/man/man8 \
	    $(TO)/share/examples/thinjail $(TO)/share/examples/thinjail/jail.conf.d
	for p in $(PROGRAMS); do install -m 555 $(BUILT)/$$p $(TO)/sbin/$$p || exit 1; done
	for m in $(MAN5); do install -m 444 man/$$m $(TO)/share/man/man5/$$m || exit 1; done
	for m in $(MAN7); do install -m 444 man/$$m $(TO)/share/man/man7/$$m || exit 1; done
	for m in $(MAN8); do install -m 444 man/$$m $(TO)/share/man/man8/$$m || exit 1; done
	install -m 444 etc/thinjail.conf.sample $(TO)/etc/thinjail.conf.sample
	install -m 444 etc/newsyslog.conf.d/thinjail.conf $(TO)/etc/newsyslog.conf.d/thinjail.conf
	install -m 555 etc/periodic/weekly/500.thinjail-doctor $(TO)/etc/periodic/weekly/500.thinjail-doctor
	install -m 444 share/examples/jail.conf share/examples/jail.conf.ipv6 $(TO)/share/examples/thinjail/
	install -m 444 share/examples/jail.conf.d/web.conf $(TO)/share/examples/thinjail/jail.conf.d/web.conf

# Takes away what install brought, and directories only if they are empty and
# the suite's own.
uninstall:
	for p in $(PROGRAMS); do rm -f $(TO)/sbin/$$p || exit 1; done
	for m in $(MAN5); do rm -f $(TO)/share/man/man5/$$m || exit 1; done
	for m in $(MAN7); do rm -f $(TO)/share/man/man7/$$m || exit 1; done
	for m in $(MAN8); do rm -f $(TO)/share/man/man8/$$m || exit 1; done
	rm -f $(TO)/etc/thinjail.conf.sample $(TO)/etc/newsyslog.conf.d/thinjail.conf \
	    $(TO)/etc/periodic/weekly/500.thinjail-doctor
	rm -f $(TO)/share/examples/thinjail/jail.conf $(TO)/share/examples/thinjail/jail.conf.ipv6 \
	    $(TO)/share/examples/thinjail/jail.conf.d/web.conf
	-rmdir $(TO)/share/examples/thinjail/jail.conf.d $(TO)/share/examples/thinjail

clean:
	$(CARGO) clean

.PHONY: all check check-freebsd faults fuzz lint man-lint model demo bench bench-freebsd install uninstall \
	clean
