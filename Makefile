# Works with FreeBSD make and GNU make alike: no conditionals, no functions.

VERSION =	0.1.0
PREFIX =	/usr/local
DESTDIR =
CARGO =		cargo
MANDOC =	mandoc

PROGRAMS =	jail-clone jail-destroy jail-doctor jail-epair-down jail-epair-up \
		jail-export jail-import jail-list jail-mkfstab jail-rebase jail-setup \
		jail-sweep skel-destroy skel-fetch skel-fixcerts skel-split \
		skel-update
MAN5 =		thinjail.conf.5
MAN7 =		thinjail.7
MAN8 =		jail-clone.8 jail-destroy.8 jail-doctor.8 jail-epair-down.8 \
		jail-epair-up.8 jail-export.8 jail-import.8 jail-list.8 \
		jail-mkfstab.8 jail-rebase.8 jail-setup.8 jail-sweep.8 \
		skel-destroy.8 skel-fetch.8 skel-fixcerts.8 skel-split.8 \
		skel-update.8

# Quoted for the shell: DESTDIR may contain blanks.
TO =		"$(DESTDIR)$(PREFIX)"
# Where cargo puts release builds.
BUILT =		$${CARGO_TARGET_DIR:-target}/release
BASHDIR =		share/bash-completion/completions
FISHDIR =		share/fish/vendor_completions.d
ZSHDIR =		share/zsh/site-functions
EXAMPLESDIR =	share/examples/thinjail
ANSIBLE =	README hosts.yml site.yml roles/thinjail/defaults/main.yml roles/thinjail/meta/main.yml \
		roles/thinjail/tasks/jails.yml roles/thinjail/tasks/main.yml
EXAMPLES =	devfs.rules jail.conf jail.conf.ipv6 jail.conf.ipv6-only pf.conf \
		rc.conf.laptop rc.conf.lan rc.conf.server
# Where man-html puts the pages.
HTML =		dist/html
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

# Looks for inputs that a parser takes badly: FUZZ_SECONDS each, 60 if not set, or
# FUZZ_RUNS inputs, the same each time.
fuzz:
	CARGO="$(CARGO)" sh tests/fuzz/run.sh

# On FreeBSD, as root, in a disposable machine; see tests/freebsd/README. Builds
# nothing either.
check-freebsd:
	PREFIX="$(PREFIX)" BASE_TXZ="$(BASE_TXZ)" JIB="$(JIB)" K="$(K)" sh tests/freebsd/run

# The Ansible role of the examples, on two simulated hosts; needs ansible-core.
check-ansible:
	$(CARGO) build --quiet --locked --features inject --bins --examples
	sh tests/ansible/run "$${CARGO_TARGET_DIR:-target}/debug"

# Every fault at every effect of every program, and every pair of programs at
# once; check tries a sample.
faults:
	THINJAIL_FAULTS=all $(CARGO) test --locked --features inject --test suite -- --nocapture faults:: pairs::

# Random sequences against the model, other ones each time; takes a while.
model:
	THINJAIL_MODEL_STEPS=$${THINJAIL_MODEL_STEPS:-1000000} THINJAIL_MODEL_SEED=$${THINJAIL_MODEL_SEED:-`date +%s`} \
	    $(CARGO) test --locked --features inject --test suite -- --nocapture model::

lint:
	$(CARGO) fmt --check
	cd tests/fuzz && $(CARGO) fmt --check
	cd tests/fuzz && $(CARGO) metadata --locked --format-version 1 >/dev/null
	$(CARGO) clippy --locked --all-targets --features inject -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

man-lint:
	cd man && $(MANDOC) -T lint -W warning $(MAN5) $(MAN7) $(MAN8)
	cd man && sh spell.sh $(MAN5) $(MAN7) $(MAN8)
	# The words to avoid, in all other texts that are read.
	sh man/spell.sh *.md docs/*.md tests/README tests/freebsd/README tests/messages/*.cases \
	    share/port/pkg-descr share/port/pkg-message share/examples/jail.conf share/examples/jail.conf.ipv* share/examples/rc.conf.* share/examples/pf.conf share/examples/devfs.rules share/examples/ansible/README etc/*.sample

# With the feature of the tests, so that check does not compile the programs again.
demo:
	$(CARGO) build --quiet --locked --features inject --bins --examples
	sh share/demo/demo.sh "$${CARGO_TARGET_DIR:-target}/debug"

bench:
	$(CARGO) build --quiet --locked --release --bins --examples
	"$${CARGO_TARGET_DIR:-target}/release/examples/bench"

# On FreeBSD, as root, in a disposable machine: the hooks against ifconfig(8), against
# jib(8) if JIB names it, and against the same ioctls in C. Builds no program either.
bench-freebsd:
	PREFIX="$(PREFIX)" JIB="$(JIB)" PAIR="$(PAIR)" sh share/bench/freebsd.sh

# Builds nothing: what root installs was built by somebody else. Configuration
# comes as samples only, as pkg(8) wants it: what is live is never touched.
install:
	@for p in $(PROGRAMS) thinjail-complete; do \
	    test -x "$(BUILT)/$$p" || { echo "$$p is not built; run make first" >&2; exit 1; }; \
	done
	# Not install -d, which gives directories that are there another mode.
	umask 022 && mkdir -p $(TO)/sbin $(TO)/libexec $(TO)/etc/newsyslog.conf.d $(TO)/etc/periodic/weekly \
	    $(TO)/share/man/man5 $(TO)/share/man/man7 $(TO)/share/man/man8 \
	    $(TO)/$(EXAMPLESDIR)/ansible/roles/thinjail/defaults $(TO)/$(EXAMPLESDIR)/ansible/roles/thinjail/meta \
	    $(TO)/$(EXAMPLESDIR)/ansible/roles/thinjail/tasks \
	    $(TO)/$(EXAMPLESDIR)/jail.conf.d $(TO)/$(BASHDIR) $(TO)/$(FISHDIR) $(TO)/$(ZSHDIR)
	for p in $(PROGRAMS); do install -m 555 "$(BUILT)/$$p" $(TO)/sbin/$$p || exit 1; done
	install -m 555 "$(BUILT)/thinjail-complete" $(TO)/libexec/thinjail-complete
	for m in $(MAN5); do install -m 444 man/$$m $(TO)/share/man/man5/$$m || exit 1; done
	for m in $(MAN7); do install -m 444 man/$$m $(TO)/share/man/man7/$$m || exit 1; done
	for m in $(MAN8); do install -m 444 man/$$m $(TO)/share/man/man8/$$m || exit 1; done
	install -m 644 etc/thinjail.conf.sample $(TO)/etc/thinjail.conf.sample
	install -m 644 etc/newsyslog.conf.d/thinjail.conf.sample $(TO)/etc/newsyslog.conf.d/thinjail.conf.sample
	install -m 555 etc/periodic/weekly/500.thinjail-doctor $(TO)/etc/periodic/weekly/500.thinjail-doctor
	for e in $(EXAMPLES); do install -m 444 share/examples/$$e $(TO)/$(EXAMPLESDIR)/$$e || exit 1; done
	install -m 444 share/examples/jail.conf.d/web.conf $(TO)/$(EXAMPLESDIR)/jail.conf.d/web.conf
	for e in $(ANSIBLE); do install -m 444 share/examples/ansible/$$e $(TO)/$(EXAMPLESDIR)/ansible/$$e || exit 1; done
	install -m 444 share/completions/thinjail.bash $(TO)/$(BASHDIR)/thinjail
	install -m 444 share/completions/thinjail.fish $(TO)/$(FISHDIR)/thinjail.fish
	install -m 444 share/completions/_thinjail $(TO)/$(ZSHDIR)/_thinjail
	# Bash and fish look for a file with the name of the command.
	for p in $(PROGRAMS); do \
	    ln -sf thinjail $(TO)/$(BASHDIR)/$$p && ln -sf thinjail.fish $(TO)/$(FISHDIR)/$$p.fish || exit 1; \
	done

# Takes away what install brought, and directories only if they are empty and
# not those that every host has.
uninstall:
	for p in $(PROGRAMS); do \
	    rm -f $(TO)/sbin/$$p $(TO)/$(BASHDIR)/$$p $(TO)/$(FISHDIR)/$$p.fish || exit 1; \
	done
	for m in $(MAN5); do rm -f $(TO)/share/man/man5/$$m || exit 1; done
	for m in $(MAN7); do rm -f $(TO)/share/man/man7/$$m || exit 1; done
	for m in $(MAN8); do rm -f $(TO)/share/man/man8/$$m || exit 1; done
	rm -f $(TO)/etc/thinjail.conf.sample $(TO)/etc/newsyslog.conf.d/thinjail.conf.sample \
	    $(TO)/etc/periodic/weekly/500.thinjail-doctor
	for e in $(EXAMPLES) jail.conf.d/web.conf; do rm -f $(TO)/$(EXAMPLESDIR)/$$e || exit 1; done
	for e in $(ANSIBLE); do rm -f $(TO)/$(EXAMPLESDIR)/ansible/$$e || exit 1; done
	rm -f $(TO)/libexec/thinjail-complete $(TO)/$(BASHDIR)/thinjail $(TO)/$(FISHDIR)/thinjail.fish $(TO)/$(ZSHDIR)/_thinjail
	@for d in $(EXAMPLESDIR)/ansible/roles/thinjail/defaults $(EXAMPLESDIR)/ansible/roles/thinjail/meta \
	    $(EXAMPLESDIR)/ansible/roles/thinjail/tasks $(EXAMPLESDIR)/ansible/roles/thinjail \
	    $(EXAMPLESDIR)/ansible/roles $(EXAMPLESDIR)/ansible $(EXAMPLESDIR)/jail.conf.d $(EXAMPLESDIR) etc/newsyslog.conf.d $(BASHDIR) share/bash-completion \
	    $(FISHDIR) share/fish $(ZSHDIR) share/zsh; do \
	    rmdir $(TO)/$$d 2>/dev/null || true; \
	done

# On FreeBSD: dist/thinjail-VERSION.pkg from a staged tree, without a ports tree.
package:
	PREFIX="$(PREFIX)" BUILT="$(BUILT)" sh share/release/package.sh "$(MAKE)"

# Makefile.crates of the port, from Cargo.lock.
crates:
	awk -f share/release/crates.awk Cargo.lock >share/port/Makefile.crates

# distinfo of the port, for the tarball of dist.
distinfo: dist
	CARGO="$(CARGO)" sh share/release/distinfo.sh dist/thinjail-$(VERSION).tar.gz >share/port/distinfo

# A tarball of what is committed, the same bytes each time.
dist:
	mkdir -p dist
	git archive --format=tar --prefix=thinjail-$(VERSION)/ -o dist/thinjail-$(VERSION).tar HEAD
	gzip -9nf dist/thinjail-$(VERSION).tar

# The crates into the tree: from then on cargo needs no network here.
vendor:
	$(CARGO) vendor --quiet --locked --versioned-dirs vendor >/dev/null
	mkdir -p .cargo
	cp share/release/vendored.toml .cargo/config.toml

# A tarball that builds and passes its tests without a network.
dist-vendored: dist
	CARGO="$(CARGO)" sh share/release/vendored.sh thinjail-$(VERSION) "$(MAKE)"

# The manual pages as HTML that refers to each other, and to FreeBSD's.
man-html:
	mkdir -p "$(HTML)"
	cp man/style.css "$(HTML)/style.css"
	# mandoc(1) looks in this directory for the pages that are ours.
	html=$$(cd "$(HTML)" && pwd) && cd man && for m in $(MAN5) $(MAN7) $(MAN8); do \
	    $(MANDOC) -T html -I os=FreeBSD \
	    -O 'toc,style=style.css,man=%N.%S.html;https://man.freebsd.org/cgi/man.cgi?query=%N&sektion=%S' \
	    $$m >"$$html/$$m.html" || exit 1; \
	done
	sh man/index.sh >"$(HTML)/index.html"

clean:
	$(CARGO) clean
	rm -rf dist

.PHONY: all check check-ansible check-freebsd faults fuzz lint man-lint man-html model demo bench bench-freebsd \
	install uninstall package crates distinfo dist vendor dist-vendored clean
