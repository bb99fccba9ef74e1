//! What is specific to some files of a jail when it is moved to another release.

use crate::formats::diff::{self, MergedText};
use crate::formats::passwd::{self, Table};
use crate::system::tool::Tool;
use crate::system::tree::threeway::{self, ChangedBy, FileContents, MergeRule, Step, TreeChange};
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
pub struct EtcPolicy;

impl threeway::MergePolicy for EtcPolicy {
    fn rule(&self, path: &Path) -> MergeRule {
        if OWN.iter().any(|own| path == Path::new(own)) {
            MergeRule::Own
        } else if CERTIFICATES.iter().any(|place| path.starts_with(place) && path != Path::new(place))
            || path == Path::new("etc/ssl/cert.pem")
        {
            MergeRule::Release
        } else if DATABASES.iter().any(|d| d.files.iter().any(|file| path == Path::new(file))) {
            MergeRule::Generated
        } else {
            MergeRule::Merge
        }
    }

    fn merge(&self, path: &Path, ancestor: &[u8], ours: &[u8], theirs: &[u8]) -> Option<MergedText> {
        if ![ancestor, ours, theirs].into_iter().all(diff::is_text) {
            return None;
        }
        let table = match path.to_str() {
            Some("etc/master.passwd") => Some(Table::MasterPasswd),
            Some("etc/group") => Some(Table::Group),
            _ => None,
        };
        let by_record = table.and_then(|table| passwd::merge(table, ancestor, ours, theirs));
        Some(by_record.unwrap_or_else(|| diff::merge(ancestor, ours, theirs)))
    }
}

/// Whether the jail changed what certctl(8) makes.
pub fn touches_certificates(found: &TreeChange) -> bool {
    found.by != ChangedBy::Release && CERTIFICATES.iter().any(|place| found.path.starts_with(place))
}

/// Where what is made of a text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseRule {
    /// From the release, whose text it is.
    Theirs,
    /// From the jail, whose text it is.
    Ours,
    /// It has to be rebuilt.
    Rebuilt,
    /// There is no such text any longer.
    Gone,
}

/// Where what is made of `source` comes from, by what became of that.
pub fn made(source: &str, found: &[TreeChange]) -> DatabaseRule {
    let step = found.iter().find(|f| f.path == Path::new(source)).and_then(|f| f.step.as_ref());
    match step {
        None => DatabaseRule::Theirs,
        Some(Step::CopyFromJail) => DatabaseRule::Ours,
        Some(Step::Remove) => DatabaseRule::Gone,
        Some(Step::MakeDirectory) => DatabaseRule::Gone,
        Some(Step::MergeMetadata(compose)) => match &compose.contents {
            FileContents::Of(diff::Side::Ours) => DatabaseRule::Ours,
            FileContents::Of(diff::Side::Theirs) => DatabaseRule::Theirs,
            FileContents::Merged(_) => DatabaseRule::Rebuilt,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tree::threeway::MergePolicy as _;

    #[test]
    fn rules() {
        for (path, rule) in [
            ("etc", MergeRule::Merge),
            ("etc/rc.conf", MergeRule::Merge),
            ("usr", MergeRule::Merge),
            ("usr/local", MergeRule::Own),
            ("root", MergeRule::Own),
            ("var/db/pkg", MergeRule::Own),
            ("etc/ssl/certs", MergeRule::Merge),
            ("etc/ssl/certs/0a.0", MergeRule::Release),
            ("etc/ssl/cert.pem", MergeRule::Release),
            ("etc/ssl/openssl.cnf", MergeRule::Merge),
            ("etc/spwd.db", MergeRule::Generated),
            ("etc/spwd.db.tmp", MergeRule::Merge),
        ] {
            assert_eq!(EtcPolicy.rule(Path::new(path)), rule, "{path}");
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
