//! What is in the files of a made-up base that programs read.

/// What is in a file of a base of that release.
pub fn content(path: &str, release: &str) -> Vec<u8> {
    let name = path.rsplit('/').next().unwrap_or_default();
    match path {
        "bin/freebsd-version" => freebsd_version(release),
        "etc/master.passwd" => PASSWD.to_owned(),
        "etc/passwd" => passwd(),
        "etc/pwd.db" | "etc/spwd.db" => {
            format!("{name} of\n{}", if name == "pwd.db" { passwd() } else { PASSWD.into() })
        }
        "etc/group" => GROUP.to_owned(),
        "etc/login.conf" => LOGIN_CONF.to_owned(),
        "etc/login.conf.db" => format!("login.conf.db of\n{LOGIN_CONF}"),
        "etc/services" => SERVICES.to_owned(),
        "var/db/services.db" => format!("services.db of\n{SERVICES}"),
        "etc/freebsd-update.conf" => UPDATE_CONF.to_owned(),
        "etc/mtree/BSD.var.dist" => directories("./var"),
        // A script until 14, and a compiled program since.
        "usr/sbin/certctl" if release.starts_with("15") => "\x7fELF certctl\n".to_owned(),
        "usr/sbin/certctl" => CERTCTL.to_owned(),
        _ if path.starts_with("usr/share/certs/") && name.ends_with(".pem") => certificate(name),
        "etc/ssl/cert.pem" => bundle(),
        _ if path.starts_with("etc/ssl/certs/") || path.starts_with("etc/ssl/untrusted/") => {
            let source = super::certificate_links().find(|(link, _)| *link == path);
            certificate(source.map_or(name, |(_, text)| text.rsplit('/').next().unwrap_or_default()))
        }
        _ => format!("{path}\n"),
    }
    .into_bytes()
}

/// The script that freebsd-version(1) is.
fn freebsd_version(release: &str) -> String {
    format!(
        "#!/bin/sh\n\nset -e\n\nUSERLAND_VERSION=\"{release}\"\n\n: ${{ROOT:=}}\n\n\
         userland_version() {{\n\techo $USERLAND_VERSION\n}}\n\n\
         if [ $# -eq 0 ] || [ \"$1\" = -u ]; then\n\tuserland_version\nelse\n\
         \techo \"freebsd-version: only -u here\" >&2\n\texit 1\nfi\n"
    )
}

/// A certificate, of which only its name can be told.
fn certificate(name: &str) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n")
}

/// All trusted certificates, in the order of their hashes.
fn bundle() -> String {
    super::certificate_links()
        .filter(|(link, _)| link.starts_with("etc/ssl/certs/"))
        .map(|(_, text)| certificate(text.rsplit('/').next().unwrap_or_default()))
        .collect()
}

/// passwd(5) of master.passwd(5): without the password, the class and the two times.
fn passwd() -> String {
    PASSWD
        .lines()
        .map(|line| {
            let mut fields: Vec<&str> = line.split(':').collect();
            fields[1] = "*";
            fields.drain(4..7);
            fields.join(":") + "\n"
        })
        .collect()
}

/// The directories below one, as mtree(8) reads them.
fn directories(top: &str) -> String {
    let mut text = String::from("#\n/set type=dir uname=root gname=wheel mode=0755\n.\n");
    let mut open: Vec<&str> = Vec::new();
    let indent = |depth: usize| "    ".repeat(depth);
    for line in super::MTREE.lines().filter(|line| line.contains(" type=dir ")) {
        let mut words = line.split(' ');
        let Some(path) = words.next().and_then(|path| path.strip_prefix(top)?.strip_prefix('/')) else {
            continue;
        };
        let parts: Vec<&str> = path.split('/').collect();
        while !parts.starts_with(&open) || open.len() == parts.len() {
            text += &format!("{}..\n", indent(open.len()));
            open.pop();
        }
        open = parts;
        let keys: Vec<&str> = words
            .filter(|word| !["type=dir", "uname=root", "gname=wheel", "mode=0755"].contains(word))
            .collect();
        let keys = if keys.is_empty() { String::new() } else { format!(" {}", keys.join(" ")) };
        text += &format!("{}{}{keys}\n", indent(open.len()), open[open.len() - 1]);
    }
    for depth in (0..=open.len()).rev() {
        text += &format!("{}..\n", indent(depth));
    }
    text
}

const PASSWD: &str = "\
root::0:0::0:0:Charlie &:/root:/bin/sh
toor:*:0:0::0:0:Bourne-again Superuser:/root:
daemon:*:1:1::0:0:Owner of many system processes:/root:/usr/sbin/nologin
operator:*:2:5::0:0:System &:/:/usr/sbin/nologin
bin:*:3:7::0:0:Binaries Commands and Source:/:/usr/sbin/nologin
sshd:*:22:22::0:0:Secure Shell Daemon:/var/empty:/usr/sbin/nologin
unbound:*:59:59::0:0:Unbound DNS Resolver:/var/unbound:/usr/sbin/nologin
uucp:*:66:66::0:0:UUCP pseudo-user:/var/spool/uucppublic:/usr/local/libexec/uucp/uucico
auditdistd:*:78:77::0:0:Auditdistd unprivileged user:/var/empty:/usr/sbin/nologin
ntpd:*:123:123::0:0:NTP Daemon:/var/db/ntp:/usr/sbin/nologin
nobody:*:65534:65534::0:0:Unprivileged user:/nonexistent:/usr/sbin/nologin
";

const GROUP: &str = "\
wheel:*:0:root
daemon:*:1:
tty:*:4:
operator:*:5:root
mail:*:6:
games:*:13:
sshd:*:22:
unbound:*:59:
authpf:*:63:
uucp:*:66:
dialer:*:68:
network:*:69:
audit:*:77:
ntpd:*:123:
nogroup:*:65533:
nobody:*:65534:
";

const LOGIN_CONF: &str = "\
default:\\
\t:passwd_format=sha512:\\
\t:welcome=/var/run/motd:\\
\t:path=/sbin /bin /usr/sbin /usr/bin /usr/local/sbin /usr/local/bin ~/bin:\\
\t:umask=022:
root:\\
\t:ignorenologin:\\
\t:tc=default:
";

const SERVICES: &str = "\
ssh\t\t 22/tcp\t   #Secure Shell Login
smtp\t\t 25/tcp\t   mail\t\t#Simple Mail Transfer
domain\t\t 53/udp\t   #Domain Name Server
http\t\t 80/tcp\t   www www-http\t#World Wide Web HTTP
";

const UPDATE_CONF: &str = "\
KeyPrint 800651ef4b4c71c27e60786d7b487188970f4b4169cc055784e21eb71d410cc5
ServerName update.FreeBSD.org
Components src world kernel
IgnorePaths
IDSIgnorePaths /usr/share/man/cat
IDSIgnorePaths /usr/share/man/whatis
IDSIgnorePaths /var/db/locate.database
IDSIgnorePaths /var/log
UpdateIfUnmodified /etc/ /var/ /root/ /.cshrc /.profile
MergeChanges /etc/ /boot/device.hints
";

const CERTCTL: &str = "\
#!/bin/sh
: ${DESTDIR:=}
echo \"certctl: not here\" >&2
exit 1
";
