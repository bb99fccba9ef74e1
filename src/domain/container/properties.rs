//! The properties that a dataset has of its own, as another one is to get them.

use super::OWNER_PROPERTY;
use crate::system::host::Host;
use crate::system::zfs::{Dataset, DatasetProperties, Property, query_one};
use anyhow::Result;

/// Properties that say where a dataset is, who uses it or how it was made. A
/// new clone gets them from its own place, or cannot get them at all
/// (zfsprops(7)); whatever else is set on a dataset goes along.
const OF_PLACE: &[&str] = &[
    // Where it is mounted, and whether: a copy would be mounted over the first.
    "mountpoint",
    "canmount",
    // Who mounts it.
    "jailed",
    "zoned",
    // It could not be filled.
    "readonly",
    // Set when a dataset is made; a clone has those of its origin.
    "casesensitivity",
    "encryption",
    "keyformat",
    "keylocation",
    "normalization",
    "pbkdf2iters",
    "utf8only",
    "version",
    "volblocksize",
    "volsize",
];

/// Properties whose zero means that there is no limit: it reads back as 0, but
/// is set as `none` ("use 'none' to disable quota/refquota").
const NONE_FOR_ZERO: &[&str] = &["quota", "refquota", "reservation", "refreservation"];

/// The properties that are set on a dataset itself or were received with it,
/// as `-o` of zfs-clone(8) takes them.
pub fn own_properties(host: &Host, dataset: &Dataset) -> Result<Vec<(String, String)>> {
    let found = query_one(host.tools(), dataset.as_str(), &["all"])?;
    Ok(own_of(found.iter().flat_map(DatasetProperties::all)))
}

fn own_of<'p>(all: impl Iterator<Item = &'p Property>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for property in all {
        let Property { name, value, .. } = property;
        if !property.is_own() || name == OWNER_PROPERTY || OF_PLACE.contains(&name.as_str()) {
            continue;
        }
        // `userquota@...` and the like are not properties of the dataset's.
        if name.contains('@') {
            continue;
        }
        let is_none = value == "0" && NONE_FOR_ZERO.contains(&name.as_str());
        found.push((name.clone(), if is_none { "none".to_owned() } else { value.clone() }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::zfs::parse;
    use proptest::prelude::*;

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_set_goes_along() {
        let text = "type\tfilesystem\t-\nquota\t0\tlocal\nrefquota\t5368709120\tlocal\n\
                    reservation\t0\tdefault\nmountpoint\t/zdata/jails/containers/web\tlocal\n\
                    canmount\tnoauto\treceived\ncompression\tzstd\treceived\natime\toff\tinherited from zdata\n\
                    snapshot_limit\tnone\tlocal\nthinjail:jail\tweb\treceived\norg.example:a\tb c\tlocal\n\
                    utf8only\toff\t-\nencryption\toff\tdefault\n";
        let expected = pairs(&[
            ("quota", "none"),
            ("refquota", "5368709120"),
            ("compression", "zstd"),
            ("snapshot_limit", "none"),
            ("org.example:a", "b c"),
        ]);
        let text: String = text.lines().map(|line| format!("z/a\t{line}\n")).collect();
        assert_eq!(own_of(parse(&text)[0].all().iter()), expected);
    }

    proptest! {
        #[test]
        fn only_own_properties_and_never_those_of_the_place(
            rows in prop::collection::vec(
                (
                    prop_oneof![
                        prop::sample::select(OF_PLACE).prop_map(str::to_owned),
                        prop::sample::select(NONE_FOR_ZERO).prop_map(str::to_owned),
                        "[a-z]{1,8}(:[a-z]{1,8})?",
                    ],
                    prop_oneof![Just("0".to_owned()), "[a-z0-9 =,]{1,12}"],
                    prop::sample::select(vec!["local", "received", "default", "inherited from z", "-"]),
                ),
                0..12,
            )
        ) {
            let property = |(name, value, source): &(String, String, &str)| Property {
                name: name.clone(),
                value: value.clone(),
                source: (*source).to_owned(),
            };
            let all: Vec<Property> = rows.iter().map(property).collect();
            let found = own_of(all.iter());
            for (name, value) in &found {
                prop_assert!(!OF_PLACE.contains(&name.as_str()) && name != OWNER_PROPERTY);
                prop_assert!(!(NONE_FOR_ZERO.contains(&name.as_str()) && value == "0"));
            }
            let own = all.iter().filter(|p| p.is_own() && !OF_PLACE.contains(&p.name.as_str()));
            prop_assert_eq!(own.count(), found.len());
        }
    }
}
