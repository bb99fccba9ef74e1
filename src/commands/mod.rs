//! One file or folder a program: its arguments, what it looks at, the steps it takes.

pub mod common;
pub mod jail_clone;
pub mod jail_destroy;
pub mod jail_doctor;
pub mod jail_epair_down;
pub mod jail_epair_up;
pub mod jail_export;
pub mod jail_import;
pub mod jail_list;
pub mod jail_mkfstab;
pub mod jail_rebase;
pub mod jail_setup;
pub mod jail_sweep;
pub mod skel_destroy;
pub mod skel_fetch;
pub mod skel_fixcerts;
pub mod skel_split;
pub mod skel_update;
pub mod thinjail_complete;

use clap::{Command, CommandFactory};
use jail_clone::JailClone;
use jail_destroy::JailDestroy;
use jail_doctor::JailDoctor;
use jail_epair_down::JailEpairDown;
use jail_epair_up::JailEpairUp;
use jail_export::JailExport;
use jail_import::JailImport;
use jail_list::JailList;
use jail_mkfstab::JailMkfstab;
use jail_rebase::JailRebase;
use jail_setup::JailSetup;
use jail_sweep::JailSweep;
use skel_destroy::SkelDestroy;
use skel_fetch::SkelFetch;
use skel_fixcerts::SkelFixcerts;
use skel_split::SkelSplit;
use skel_update::SkelUpdate;

/// The command lines of all programs, for tests and completions.
pub fn all() -> [Command; 17] {
    [
        JailEpairUp::command(),
        JailEpairDown::command(),
        JailSweep::command(),
        JailMkfstab::command(),
        JailSetup::command(),
        JailClone::command(),
        JailDestroy::command(),
        JailRebase::command(),
        JailExport::command(),
        JailImport::command(),
        JailList::command(),
        JailDoctor::command(),
        SkelFetch::command(),
        SkelSplit::command(),
        SkelFixcerts::command(),
        SkelUpdate::command(),
        SkelDestroy::command(),
    ]
}

#[cfg(test)]
mod tests {
    use super::common::{Arguments, Common, parse_from, summary};
    use super::*;
    use crate::domain::epair::Addresses;
    use crate::types::mirror::Arch;
    use proptest::prelude::*;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    use std::path::Path;

    fn read<P: Arguments>(line: &str) -> Result<P, clap::Error> {
        let words = line.split(' ').filter(|w| !w.is_empty()).map(OsString::from);
        parse_from(std::iter::once("program".into()).chain(words))
    }

    fn mistake<P: Arguments + std::fmt::Debug>(line: &str) -> String {
        let error = read::<P>(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        let text = error.to_string();
        assert!(text.contains("\n\nUsage: ") || text.contains("For more information"), "{line}: {text}");
        summary(&error)
    }

    #[test]
    fn declarations_are_sound() {
        for command in all() {
            let name = command.get_name().to_owned();
            for argument in command.get_arguments() {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty() && !help.ends_with('.'), "{name}: {}: {help:?}", argument.get_id());
            }
            let help = command.clone().render_help().to_string();
            assert!(help.lines().all(|line| line.len() <= 100), "{help}");
            command.debug_assert();
        }
    }

    #[test]
    fn everything_at_once() {
        let up: JailEpairUp =
            read("-nv --json -R /r -m 9000 -M none -u igc0 -b igc0bridge web epair5").unwrap();
        let Common { dry_run, verbose, json, root } = &up.common;
        let root = root.root.as_deref();
        assert_eq!((dry_run, verbose, json, root), (&true, &true, &true, Some(Path::new("/r"))));
        assert_eq!((up.mtu, up.mac), ("9000".parse().ok(), Some(Addresses::Kernel)));
        assert_eq!((up.uplink, Ok(up.bridge)), ("igc0".parse().ok(), "igc0bridge".parse()));
        assert_eq!((Ok(up.name), Ok(up.pair)), ("web".parse(), "epair5".parse()));

        let up: JailEpairUp = read("-b b web epair5").unwrap();
        assert!(up.mtu.is_none() && up.mac.is_none() && up.uplink.is_none() && up.common.root.root.is_none());
        assert!(!up.common.dry_run && !up.common.verbose && !up.common.json);

        let down: JailEpairDown = read("web epair5 -n").unwrap();
        assert!(down.common.dry_run && !down.common.verbose);
        assert_eq!((Ok(down.name), Ok(down.pair)), ("web".parse(), "epair5".parse()));

        let sweep: JailSweep = read("-t zfs -ttmpfs web /j/web epair5").unwrap();
        assert_eq!((sweep.kinds, sweep.path), (vec!["zfs".into(), "tmpfs".into()], "/j/web".into()));
        assert_eq!((Ok(sweep.name), sweep.pair), ("web".parse(), "epair5".parse().ok()));
        assert_eq!(read::<JailSweep>("web /j/web").unwrap().pair, None);

        let fstab: JailMkfstab = read("-r 14.5 -o - -m /a:/b -m /c:/d:ro web").unwrap();
        assert_eq!((fstab.release, fstab.output), ("14.5".parse().ok(), Some("-".into())));
        assert_eq!(fstab.mounts, ["/a:/b", "/c:/d:ro"].map(|m| m.parse().unwrap()));
        assert!(!fstab.check && fstab.name.as_str() == "web");
        assert!(read::<JailMkfstab>("-cv -R /r -o f web").unwrap().check);

        let clone: JailClone = read("-e -6 fd00::5/64 -i 192.168.7.5 -m /a:/b -r 15.0-RC1 web 5").unwrap();
        assert!(clone.enable && clone.mounts == ["/a:/b".parse().unwrap()]);
        assert_eq!((clone.v4, clone.v6), ("192.168.7.5".parse().ok(), "fd00::5/64".parse().ok()));
        assert_eq!((clone.release, clone.id), ("15.0-RC1".parse().ok(), "5".parse().ok()));
        assert_eq!(read::<JailClone>("web").unwrap().id, None);

        let list: JailList = read("-j -R /r").unwrap();
        assert!(list.common.json);
        assert_eq!(list.common.root.root.as_deref(), Some(Path::new("/r")));
        assert!(!read::<JailList>("").unwrap().common.json);

        let doctor: JailDoctor = read("-jnvx -R /r web db").unwrap();
        assert!(doctor.fix && doctor.common.json && doctor.common.dry_run && doctor.common.verbose);
        assert_eq!(doctor.names, ["web", "db"].map(|n| n.parse().unwrap()));
        assert!(read::<JailDoctor>("").unwrap().names.is_empty());

        let certs: SkelFixcerts = read("-a -c -b /base 14.5").unwrap();
        assert!(certs.all && certs.check);
        assert_eq!((certs.base, certs.what), (Some("/base".into()), "14.5".into()));

        let destroy: JailDestroy = read("-fy web").unwrap();
        assert!(destroy.force && destroy.yes && destroy.name.as_str() == "web");

        let fetch: SkelFetch = read("-a arm64 -f base.txz -M MANIFEST 15.0-RC1").unwrap();
        assert_eq!((fetch.arch, fetch.file), (Some(Arch::Arm64), Some("base.txz".into())));
        assert_eq!((fetch.manifest, fetch.mirror), (Some("MANIFEST".into()), None));
        assert_eq!(fetch.release.as_str(), "15.0-RC1");
        assert_eq!(read::<SkelFetch>("-m http://x 14.5").unwrap().mirror, "http://x".parse().ok());

        let split: SkelSplit = read("-k -d src -d obj 14.5").unwrap();
        assert!(split.keep && split.directories == [Path::new("src"), Path::new("obj")]);
        assert_eq!(read::<SkelUpdate>("14.5").unwrap().release.as_str(), "14.5-RELEASE");
        let end: SkelDestroy = read("-fy 14.5").unwrap();
        assert!(end.force && end.yes && !end.unused && end.release == "14.5".parse().ok());
        assert!(read::<SkelDestroy>("--unused").unwrap().release.is_none());
    }

    #[test]
    fn mistakes() {
        for (text, expected) in [
            (mistake::<JailClone>("a.b"), "invalid value 'a.b' for '<name>': a dot in a jail name makes"),
            (mistake::<JailClone>("web 0"), "invalid value '0' for '[id]': an id is a number"),
            (mistake::<JailClone>("-i 1.2.3 web"), "invalid value '1.2.3' for '--ip <address>': "),
            (
                mistake::<JailClone>("-r latest web"),
                "invalid value 'latest' for '--release <release>': a release",
            ),
            (
                mistake::<JailClone>("-m /a web"),
                "invalid value '/a' for '--mount <mount>': a mount is written",
            ),
            (
                mistake::<JailEpairUp>("-m 71 -b b web epair5"),
                "invalid value '71' for '--mtu <mtu>': an MTU is",
            ),
            (
                mistake::<JailEpairUp>("-M x -b b web epair5"),
                "invalid value 'x' for '--mac <mac>': an Ethernet",
            ),
            (
                mistake::<JailEpairUp>("web epair5"),
                "the following required arguments were not provided: --bridge",
            ),
            (
                mistake::<JailEpairUp>("-b b web"),
                "the following required arguments were not provided: <pair>",
            ),
            (mistake::<JailSweep>("web"), "the following required arguments were not provided: <path>"),
            (
                mistake::<JailMkfstab>("-c -o - web"),
                "the argument '--check' checks a file; '--output -' names none",
            ),
            (mistake::<JailMkfstab>("-c -n web"), "the argument '--check' cannot be used with '--dry-run'"),
            (mistake::<JailMkfstab>("-c --json web"), "the argument '--check' cannot be used with '--json'"),
            (
                mistake::<JailMkfstab>("-c -m /a:/b web"),
                "the argument '--check' cannot be used with '--mount",
            ),
            (
                mistake::<JailMkfstab>("-c -r 14.5 web"),
                "the argument '--check' cannot be used with '--release",
            ),
            (
                mistake::<JailMkfstab>("--output= web"),
                "a value is required for '--output <file>' but none was",
            ),
            (mistake::<JailDoctor>("web a.b"), "invalid value 'a.b' for '[name]...': a dot in a jail name"),
            (mistake::<JailList>("-n"), "unexpected argument '-n' found"),
            (mistake::<JailList>("web"), "unexpected argument 'web' found"),
            (mistake::<JailRebase>("web"), "the following required arguments were not provided: <release|"),
            (
                mistake::<JailRebase>("--commit web 14.5"),
                "the argument '--commit' cannot be used with '[release]'",
            ),
            (
                mistake::<JailRebase>("--commit --revert web"),
                "the argument '--commit' cannot be used with '--revert'",
            ),
            (
                mistake::<JailRebase>("--edit -n web 14.5"),
                "the argument '--edit' cannot be used with '--dry-run'",
            ),
            (mistake::<JailRebase>("-k both web 14.5"), "invalid value 'both' for '--keep <side>'"),
            (mistake::<SkelFixcerts>("-cn 14.5"), "the argument '--check' cannot be used with '--dry-run'"),
            (
                mistake::<SkelFixcerts>("--json 14.5"),
                "the following required arguments were not provided: --dry-run",
            ),
            (
                mistake::<SkelFixcerts>("-c --json 14.5"),
                "the argument '--check' cannot be used with '--json'",
            ),
            (
                mistake::<SkelFixcerts>(""),
                "the following required arguments were not provided: <release | directory>",
            ),
            (mistake::<SkelFetch>(""), "the following required arguments were not provided: <release>"),
            (mistake::<SkelFetch>("-a i386 14.5"), "invalid value 'i386' for '--arch <arch>'"),
            (
                mistake::<SkelFetch>("-m here 14.5"),
                "invalid value 'here' for '--mirror <mirror>': a mirror is a URL",
            ),
            (
                mistake::<SkelFetch>("-f x -m http://y 14.5"),
                "the argument '--file <file>' cannot be used with",
            ),
            (
                mistake::<SkelSplit>("-d etc 14.5"),
                "invalid value 'etc' for '--directory <name>': a directory is one",
            ),
            (
                mistake::<SkelSplit>("-d usr 14.5"),
                "invalid value 'usr' for '--directory <name>': a directory is one",
            ),
            (
                mistake::<SkelSplit>("-d ../x 14.5"),
                "invalid value '../x' for '--directory <name>': a directory",
            ),
            (mistake::<SkelDestroy>(""), "the following required arguments were not provided: <release>"),
            (mistake::<SkelDestroy>("-f --unused"), "the argument '--force' cannot be used with '--unused'"),
            (mistake::<SkelUpdate>("14.5 15.0"), "unexpected argument '15.0' found"),
            (mistake::<SkelUpdate>("-n -n 14.5"), "the argument '--dry-run' cannot be used multiple times"),
        ] {
            assert!(text.starts_with(expected), "{text:?}, not {expected:?}");
        }
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for line in ["-h", "--help", "-V", "--version"] {
            let error = read::<JailRebase>(line).unwrap_err();
            assert_eq!((error.exit_code(), error.use_stderr()), (0, false), "{line}");
        }
        let error = read::<JailEpairUp>("--brigde x web epair5").unwrap_err().to_string();
        assert!(error.contains("'--bridge'"), "a similar argument is named: {error}");
    }

    /// Words that a parser might stumble over.
    fn word() -> impl Strategy<Value = OsString> {
        const SOME: [&str; 20] = [
            "-", "--", "---", "-n", "-c", "-b", "-nvR", "-m=", "-h=", "--json", "--mount", "--root=", "--=",
            "-=", "", "web", "epair5", "/a:/b", "14.5", "10",
        ];
        prop_oneof![
            prop::sample::select(&SOME[..]).prop_map(OsString::from),
            prop::collection::vec(any::<u8>(), 0..6).prop_map(OsString::from_vec),
            "-{0,2}[a-zA-Z6=]{0,4}".prop_map(OsString::from),
        ]
    }

    proptest! {
        #[test]
        fn no_arguments_are_too_much(words in prop::collection::vec(word(), 0..8)) {
            fn read<P: Arguments>(words: &[OsString]) {
                let words = std::iter::once("program".into()).chain(words.iter().cloned());
                if let Err(error) = parse_from::<P>(words) {
                    assert!(!summary(&error).is_empty());
                }
            }
            read::<JailEpairUp>(&words);
            read::<JailEpairDown>(&words);
            read::<JailSweep>(&words);
            read::<JailMkfstab>(&words);
            read::<JailClone>(&words);
            read::<JailList>(&words);
            read::<JailDoctor>(&words);
            read::<SkelFixcerts>(&words);
            read::<JailDestroy>(&words);
            read::<JailRebase>(&words);
            read::<SkelFetch>(&words);
            read::<SkelSplit>(&words);
            read::<SkelUpdate>(&words);
            read::<SkelDestroy>(&words);
        }
    }
}
