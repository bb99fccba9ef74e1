//! jail-doctor on hosts that are well, and on hosts that are not.
#![cfg(not(target_os = "freebsd"))] // The host is a simulated one.

#[path = "standins/setup.rs"]
mod setup;

use serde_json::Value;
use setup::{RELEASE, Stage, Storage};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};
use thinjail::doctor::finding::KINDS;

const BASE: &str = "/zdata/jails/templates/14.2-RELEASE-base";
const SKELETON: &str = "/zdata/jails/templates/14.2-RELEASE-skeleton";

/// A host with nothing wrong: some jails run, some do not.
fn healthy(storage: Storage) -> Stage {
    let stage = Stage::host(storage);
    stage.write("/etc/rc.conf", "jail_enable=\"YES\"\n");
    for (name, id) in [("web", "10"), ("db", "11"), ("mail", "12")] {
        stage.ours("jail-clone", &[name, id]);
    }
    stage.ok("jail", &["-c", "web"]);
    stage.ok("jail", &["-c", "db"]);
    stage.ok("jail", &["-r", "db"]);
    stage
}

fn run(stage: &Stage, words: &[&str]) -> Output {
    stage.run_ours("jail-doctor", words)
}

/// The findings, as identifier and object, in the order they are told.
fn findings(stage: &Stage, words: &[&str]) -> Vec<(String, String)> {
    let mut all = vec!["-j"];
    all.extend(words);
    let output = run(stage, &all);
    let told = stage.strip(&output.stdout);
    let complaint = stage.strip(&output.stderr);
    let document: Value = serde_json::from_str(&told).unwrap_or_else(|e| panic!("{e}: {told}{complaint}"));
    assert_eq!(complaint, "");
    let found = document["findings"].as_array().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!found.is_empty())), "{told}");
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    found.iter().map(|f| (text(&f["id"]), format!("{}: {}", text(&f["object"]), text(&f["what"])))).collect()
}

fn ids(stage: &Stage) -> Vec<String> {
    let mut ids: Vec<String> = findings(stage, &[]).into_iter().map(|(id, _)| id).collect();
    ids.sort();
    ids
}

#[test]
fn nothing_is_wrong_with_a_healthy_host() {
    for storage in [Storage::Zfs, Storage::Directory] {
        let stage = healthy(storage);
        assert_eq!(findings(&stage, &[]), []);
        let output = run(&stage, &["-x"]);
        assert!(
            output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(),
            "{output:?}"
        );
        assert_eq!(findings(&stage, &["web", "db"]), []);
    }
}
