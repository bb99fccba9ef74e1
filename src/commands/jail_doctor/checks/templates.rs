//! Templates: base, skeleton and the snapshots of it.

use super::super::facts::Facts;
use super::super::finding::*;
use crate::domain::inventory::TemplateStatus;
use crate::domain::layout::{Layout, Storage};
use crate::domain::links::{self, LinkScope, Survey};
use crate::domain::template;
use crate::formats::shell;
use crate::formats::zfs_diff;
use crate::system::console;
use crate::system::host::Host;
use crate::system::lock::{self, Lock};
use crate::system::plan::{Action, Plan, Undo};
use crate::system::tool::Tool;
use crate::system::tree::flags;
use crate::system::tree::inside;
use crate::system::zfs::MountProblem;
use anyhow::Result;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What base has immutable, in base and skeleton (freebsd-src: the files that
/// are installed with SCHG, and etc/mtree).
const IMMUTABLE: [(bool, &str); 8] = [
    (true, "lib/libc.so.7"),
    (true, "lib/libcrypt.so.5"),
    (true, "lib/libthr.so.3"),
    (true, "libexec/ld-elf.so.1"),
    (true, "sbin/init"),
    (true, "usr/bin/passwd"),
    (true, "usr/bin/su"),
    (false, "var/empty"),
];

const SF_IMMUTABLE: u32 = 0x20000;

/// Everything about templates.
pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(inventory) = &facts.inventory else { return found };
    for one in &inventory.templates {
        // A release need not have one; a jail that needs it says so.
        let wanted = || inventory.jails.iter().any(|j| j.release() == Some(&one.release));
        if one.base.is_absent() && one.skeleton.is_absent() && !one.is_destroying && !wanted() {
            continue;
        }
        // Half-way is where everything passes by.
        if lock::template_is_changed(facts.host.root(), &one.release) {
            continue;
        }
        template(facts, &inventory.layout, one, &mut found);
    }
    found
}

fn template(facts: &Facts, layout: &Layout, one: &TemplateStatus, found: &mut Vec<Finding>) {
    let release = &one.release;
    let about = |kind, object: &Path, what: String, advice: String| {
        Finding::new(
            kind,
            FindingScope::Template(release.to_string()),
            object.display().to_string(),
            what,
            advice,
        )
    };
    let (base, skeleton) = (layout.base(release), layout.skeleton(release));
    let (real_base, real_skeleton) = (facts.host_path(&base), facts.host_path(&skeleton));
    if one.is_destroying {
        let object = template::destroying(&base);
        let what = format!("what remains of template {release}, which was being destroyed");
        found.push(about(&DESTROY_INCOMPLETE, &object, what, format!("skel-destroy {release}")));
        return;
    }
    for (tree, real) in [(&base, &real_base), (&skeleton, &real_skeleton)] {
        if let Ok(there) = std::fs::symlink_metadata(real)
            && there.is_dir()
            && there.mode() & 0o022 != 0
        {
            let what =
                format!("mode {:o}: users other than its owner can write to it", there.mode() & 0o7777);
            found.push(about(&BASE_WRITABLE, tree, what, format!("chmod go-w {}", tree.display())));
        }
    }
    match template::check(facts.host, layout, release) {
        Ok(()) => {}
        Err(e) => {
            if let Ok(Some(MountProblem { problem, advice })) =
                template::misplaced_dataset(facts.host, layout, release)
            {
                found.push(about(&DATASET_UNMOUNTED, &base, problem, advice));
                return;
            }
            let text = console::line(&e).replace(&facts.host.root().path().display().to_string(), "");
            let text = if facts.host.root().is_alternate() { text } else { console::line(&e) };
            let (what, advice) = text.rsplit_once("; ").unwrap_or((&text, "skel-split finishes it"));
            found.push(about(&SPLIT_INCOMPLETE, &base, what.to_owned(), advice.to_owned()));
            // Links of half a template lead anywhere.
            return;
        }
    }
    if let Storage::Zfs(top) = layout.storage() {
        snapshots(facts, layout, top, one, found);
    }
    match links::survey(&real_skeleton, &real_base, LinkScope::All) {
        Err(e) => found.push(Finding::new(
            &UNCHECKED,
            FindingScope::Template(release.to_string()),
            skeleton.display().to_string(),
            console::line(&e),
            "run jail-doctor as root, or fix the cause in the message",
        )),
        Ok(survey) => {
            let object = skeleton.display().to_string();
            let at = TemplateTrees { base: &real_base, tree: &real_skeleton, scope: LinkScope::All };
            let scope = FindingScope::Template(release.to_string());
            let advice = format!("skel-fixcerts -a {release}, and a new snapshot");
            found.extend(links_of(survey, &LINK_DANGLING, &at, &scope, &object, &advice));
        }
    }
    for (in_base, path) in IMMUTABLE {
        let (tree, real) = if in_base { (&base, &real_base) } else { (&skeleton, &real_skeleton) };
        if lacks_immutable(inside::look(real, Path::new(path)).map(|s| flags::flags(&s))) {
            let object = tree.join(path);
            let advice = format!("chflags schg {}", object.display());
            found.push(about(&SCHG_MISSING, &object, "not immutable (schg)".into(), advice));
        }
    }
}

/// Whether a file that should be immutable is not. Systems without such flags
/// have nothing to say about it.
fn lacks_immutable(flags: Option<u32>) -> bool {
    cfg!(target_os = "freebsd") && flags.is_some_and(|flags| flags & SF_IMMUTABLE == 0)
}

fn snapshots(
    facts: &Facts,
    layout: &Layout,
    top: &crate::system::zfs::Dataset,
    one: &TemplateStatus,
    found: &mut Vec<Finding>,
) {
    let release = &one.release;
    let Ok(dataset) = Layout::skeleton_dataset(top, release) else { return };
    let skeleton = layout.skeleton(release).display().to_string();
    let scope = FindingScope::Template(release.to_string());
    let Some(newest) = one.newest() else {
        if one.snapshots.there().is_some() {
            let what = format!("{dataset} has no snapshot named base or after a patch level");
            let promoted = template::check_has_snapshots(facts.host, layout, &dataset).err();
            found.push(Finding::new(
                &SNAPSHOT_MISSING,
                scope,
                skeleton,
                what,
                match promoted {
                    Some(e) => console::line(&e),
                    None => format!("skel-split {release}"),
                },
            ));
        }
        return;
    };
    let snapshot = dataset.snapshot(&newest.name);
    match facts.host.tools().ask(Tool::Zfs, &["diff", "-H", "-F", &snapshot, dataset.as_str()]) {
        Ok(printed) => {
            let names = zfs_diff::parse(&printed.stdout);
            // The time of the top changes as soon as something passes by.
            let is_top = |name: &String| Path::new(name) == Path::new(&skeleton);
            let changed: Vec<String> =
                names.iter().map(|n| facts.shown(&n.path)).filter(|n| !is_top(n)).collect();
            if let Some(first) = changed.first() {
                let what =
                    format!("changed since {snapshot} ({} entries, {first} among them)", changed.len());
                // skel-update takes none where there is nothing to install.
                let taken: Vec<String> =
                    one.snapshots.there().into_iter().flatten().map(|s| s.name.clone()).collect();
                let of_newest = template::level(&newest.name).unwrap_or_default();
                let level = one.version.as_ref().map_or(of_newest, |version| version.patch);
                let next = template::next_name(&taken, level, true).unwrap_or_default();
                let next = dataset.snapshot(&next);
                let advice = format!(
                    "zfs diff {snapshot} {dataset} shows it; to give it to new jails: zfs snapshot {next}"
                );
                found.push(Finding::new(&SKELETON_NEWER, scope, skeleton, what, advice));
            }
        }
        Err(e) => {
            let advice = "run jail-doctor as root, or zfs allow diff";
            found.push(Finding::new(&UNCHECKED, scope, skeleton, console::line(&e.into()), advice));
        }
    }
}

/// The trees of a survey of links.
pub struct TemplateTrees<'a> {
    /// The base.
    pub base: &'a Path,
    /// The skeleton or container.
    pub tree: &'a Path,
    /// Which links were looked at.
    pub scope: LinkScope,
}

/// One finding for all links of a tree that can be repaired, one for each that
/// cannot.
pub fn links_of(
    survey: Survey,
    kind: &'static FindingKind,
    trees: &TemplateTrees,
    scope: &FindingScope,
    object: &str,
    advice: &str,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let fix = || {
        let mut plan = Plan::default();
        plan.push(Relink { base: trees.base.to_owned(), tree: trees.tree.to_owned(), scope: trees.scope });
        plan
    };
    if let Some(first) = survey.repairs.first() {
        let what = match survey.repairs.len() {
            1 => format!("the link {} does not reach the base", first.path.display()),
            many => {
                format!("{many} symbolic links do not reach the base, {} among them", first.path.display())
            }
        };
        found.push(Finding::new(kind, scope.clone(), object, what, advice).fixed_by(fix()));
    } else if survey.leftovers() > 0 {
        let what = "has a temporary link of a skel-fixcerts that was killed";
        found.push(Finding::new(&TEMP_LEFT, scope.clone(), object, what, advice).fixed_by(fix()));
    }
    for (path, what) in survey.findings {
        // What is no directory and what is too deep is reported elsewhere.
        if what.starts_with("dangling") {
            let what = format!("{}: {what}", path.display());
            found.push(Finding::new(kind, scope.clone(), object, what, "remove it, or create the jail"));
        }
    }
    found
}

/// What skel-fixcerts does, by what is there at the moment.
struct Relink {
    base: PathBuf,
    tree: PathBuf,
    scope: LinkScope,
}

impl Action for Relink {
    fn shell(&self) -> String {
        let all = (self.scope == LinkScope::All).then_some(OsStr::new("-a"));
        let words = [OsStr::new(links::FIXCERTS)].into_iter().chain(all);
        shell::line(words.chain([OsStr::new("-b"), self.base.as_os_str(), self.tree.as_os_str()]))
    }

    fn perform(&self, host: &Host, undo: &mut Undo) -> Result<()> {
        let _lock = Lock::of_links(host.root(), &self.tree)?;
        links::survey(&self.tree, &self.base, self.scope)?.into_plan().0.perform(host, undo)
    }
}
