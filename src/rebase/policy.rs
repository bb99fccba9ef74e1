//! What is peculiar to some files of a jail when it is moved to another release.

use crate::accounts::{self, Table};
use crate::text::{self, Merged};
use crate::tool::Tool;
use crate::tree::threeway::{self, By, Contents, Found, Rule, Step};
use std::path::Path;

/// What is the jail's own, whatever a release has there.
const OWN: [&str; 4] = ["usr/local", "home", "root", "var/db/pkg"];

/// Where certctl(8) puts what it makes of the base's certificates, and of the
/// jail's own ones (freebsd-src: usr.sbin/certctl).
const CERTIFICATES: [&str; 4] =
    ["etc/ssl/certs", "etc/ssl/untrusted", "etc/ssl/blacklisted", "etc/ssl/cert.pem"];

/// A database that is made from a text.
#[derive(Debug)]
pub struct Database {
    /// The text.
    pub source: &'static str,
    /// What is made of it.
    pub files: &'static [&'static str],
    /// The program that makes it; without one it is the jail's to do.
    pub tool: Option<Tool>,
}

/// All databases that come with a base.
pub const DATABASES: [Database; 4] = [
    Database {
        source: "etc/master.passwd",
        files: &["etc/passwd", "etc/pwd.db", "etc/spwd.db"],
        tool: Some(Tool::PwdMkdb),
    },
    Database { source: "etc/login.conf", files: &["etc/login.conf.db"], tool: Some(Tool::CapMkdb) },
    Database { source: "etc/services", files: &["var/db/services.db"], tool: Some(Tool::ServicesMkdb) },
    // The jail's own mailer makes it, in a format of its own.
    Database { source: "etc/mail/aliases", files: &["etc/mail/aliases.db"], tool: None },
];

/// The policy of moving a jail.
pub struct Policy;

impl threeway::Policy for Policy {
    fn rule(&self, path: &Path) -> Rule {
        if OWN.iter().any(|own| path == Path::new(own)) {
            Rule::Own
        } else if CERTIFICATES.iter().any(|place| path.starts_with(place) && path != Path::new(place))
            || path == Path::new("etc/ssl/cert.pem")
        {
            Rule::Release
        } else if DATABASES.iter().any(|d| d.files.iter().any(|file| path == Path::new(file))) {
            Rule::Generated
        } else {
            Rule::Merge
        }
    }

    fn merge(&self, path: &Path, ancestor: &[u8], ours: &[u8], theirs: &[u8]) -> Option<Merged> {
        if ![ancestor, ours, theirs].into_iter().all(text::is_text) {
            return None;
        }
        let table = match path.to_str() {
            Some("etc/master.passwd") => Some(Table::MasterPasswd),
            Some("etc/group") => Some(Table::Group),
            _ => None,
        };
        let by_record = table.and_then(|table| accounts::merge(table, ancestor, ours, theirs));
        Some(by_record.unwrap_or_else(|| text::merge(ancestor, ours, theirs)))
    }
}

/// Whether the jail changed what certctl(8) makes.
pub fn touches_certificates(found: &Found) -> bool {
    found.by != By::Release && CERTIFICATES.iter().any(|place| found.path.starts_with(place))
}

/// Where what is made of a text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// From the release, whose text it is.
    Theirs,
    /// From the jail, whose text it is.
    Ours,
    /// It has to be made anew.
    Anew,
    /// There is no such text any more.
    Gone,
}

/// Where what is made of `source` comes from, by what became of that.
pub fn made(source: &str, found: &[Found]) -> Made {
    let step = found.iter().find(|f| f.path == Path::new(source)).and_then(|f| f.step.as_ref());
    match step {
        None => Made::Theirs,
        Some(Step::Take) => Made::Ours,
        Some(Step::Remove) => Made::Gone,
        Some(Step::MakeDirectory) => Made::Gone,
        Some(Step::Compose(compose)) => match &compose.contents {
            Contents::Of(text::Side::Ours) => Made::Ours,
            Contents::Of(text::Side::Theirs) => Made::Theirs,
            Contents::Merged(_) => Made::Anew,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::threeway::Policy as _;

    #[test]
    fn rules() {
        for (path, rule) in [
            ("etc", Rule::Merge),
            ("etc/rc.conf", Rule::Merge),
            ("usr", Rule::Merge),
            ("usr/local", Rule::Own),
            ("root", Rule::Own),
            ("var/db/pkg", Rule::Own),
            ("etc/ssl/certs", Rule::Merge),
            ("etc/ssl/certs/0a.0", Rule::Release),
            ("etc/ssl/cert.pem", Rule::Release),
            ("etc/ssl/openssl.cnf", Rule::Merge),
            ("etc/spwd.db", Rule::Generated),
            ("etc/spwd.db.tmp", Rule::Merge),
        ] {
            assert_eq!(Policy.rule(Path::new(path)), rule, "{path}");
        }
    }

    #[test]
    fn sources_come_before_what_is_made_of_them() {
        for database in &DATABASES {
            for file in database.files {
                assert!(Path::new(database.source) < Path::new(file), "{file}");
            }
        }
    }
}
