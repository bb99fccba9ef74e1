//! Tests of archives.

#[cfg(test)]
mod archives {
    use super::super::*;
    use proptest::prelude::*;

    fn entry(kind: TarKind) -> TarEntry {
        TarEntry { path: "container/etc/x".into(), kind, mode: 0o644, ..TarEntry::plain("-", 0) }
    }

    fn read_back(bytes: &[u8]) -> Result<Vec<TarEntry>, TarError> {
        let mut reader = TarReader::new(bytes);
        let mut all = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            all.push(entry);
        }
        reader.finish()?;
        Ok(all)
    }

    fn archive(entries: &[TarEntry]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in entries {
            bytes.extend(entry.to_bytes().unwrap());
            bytes.extend(vec![b'x'; entry.data() as usize]);
            bytes.extend(vec![0; padding(entry.data()) as usize]);
        }
        bytes.extend(END);
        bytes
    }

    /// What another tar(1) has to read: the fields where POSIX has them.
    #[test]
    fn the_bytes_of_a_header() {
        let bytes = entry(TarKind::File(5)).to_bytes().unwrap();
        assert_eq!(bytes.len(), BLOCK);
        assert_eq!(&bytes[..16], b"container/etc/x\0");
        assert_eq!(&bytes[100..108], b"0000644\0");
        assert_eq!(&bytes[124..136], b"00000000005\0");
        assert_eq!((bytes[156], &bytes[257..265]), (b'0', &b"ustar\x0000"[..]));
    }

    #[test]
    fn what_is_refused() {
        let good = archive(&[entry(TarKind::File(5))]);
        assert!(read_back(&good).is_ok());
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            // The checksum that goes with it.
            let sum: u64 = bytes[..BLOCK]
                .iter()
                .enumerate()
                .map(|(at, b)| if (148..156).contains(&at) { 32 } else { u64::from(*b) })
                .sum();
            bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            bytes
        };
        let mut wrong = good.clone();
        wrong[3] = b'X';
        for (bytes, expected) in [
            (wrong, "a header with a wrong checksum"),
            (with(156, b'3'), "container/etc/x: a device"),
            (with(156, b'g'), "container/etc/x: an entry of type 'g'"),
            (with(156, b'5'), "container/etc/x: data without a file"),
            (with(124, b'9'), "a header with a number that is not octal"),
            (with(257, b'U'), "not a POSIX tar archive"),
            (good[..600].to_vec(), "ends early"),
            (good[..1024].to_vec(), "ends early"),
            ([&good[..], b"more"].concat(), "something follows its end"),
            (Vec::new(), "ends early"),
        ] {
            assert_eq!(read_back(&bytes).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn extended_headers_that_are_refused() {
        let with = |body: &[u8]| {
            let header = Header {
                path: b"PaxHeader".to_vec(),
                size: body.len() as u64,
                kind: b'x',
                ..Header::default()
            };
            let mut bytes = header.to_bytes().to_vec();
            bytes.extend(body);
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
            bytes.extend(archive(&[entry(TarKind::File(0))]));
            bytes
        };
        for (body, expected) in [
            (&b"9 path=a\n"[..], None),
            (b"9 path=\0\n", Some("a path that is empty or contains a NUL")),
            (b"99 path=a\n", Some("an extended header with a record that is cut off")),
            (b"x path=a\n", Some("an extended header with a record without length")),
            (b"9 path=a\n9 path=b\n", Some("an extended header with two records path")),
            (b"13 unknown=1\n", Some("unknown in an extended header is unknown")),
            (b"9 size=x\n", Some("size in an extended header is not a number")),
            (b"13 mtime=1e9\n", Some("mtime=1e9 is not a time")),
            (b"26 GNU.sparse.realsize=12\n", Some("a sparse file with a map that is cut off")),
        ] {
            let found = read_back(&with(body)).err().map(|e| e.to_string());
            assert_eq!(found.as_deref(), expected, "{}", String::from_utf8_lossy(body));
        }
        let large =
            Header { size: LARGEST_EXTENSION + 1, kind: b'x', path: b"-".to_vec(), ..Header::default() };
        let found = read_back(&large.to_bytes()).unwrap_err().to_string();
        assert_eq!(found, format!("an extended header of {} bytes", LARGEST_EXTENSION + 1));
    }

    #[test]
    fn paths_below_the_top() {
        for good in ["a", "a/b", "..a/b..", "a/ /b"] {
            assert!(parts(Path::new(good)).is_ok(), "{good}");
        }
        let long = "n".repeat(256);
        for bad in ["/a", "a/../b", "..", "./a", "a//b", "a/", &long] {
            assert!(parts(Path::new(bad)).is_err(), "{bad}");
        }
    }

    fn entries() -> impl Strategy<Value = TarEntry> {
        let path = "[a-zA-Z \u{e9}]{1,60}(/[a-z.]{1,90}){0,3}";
        let segments = prop::collection::vec((1..5000_u64, 1..3000_u64), 0..5).prop_map(|pairs| {
            let mut at = 0;
            pairs
                .into_iter()
                .map(|(hole, length)| {
                    let segment = Segment { offset: at + hole, length };
                    at = segment.offset + length;
                    segment
                })
                .collect::<Vec<_>>()
        });
        let kind = prop_oneof![
            Just(TarKind::Directory),
            Just(TarKind::Fifo),
            (0..2000_u64).prop_map(TarKind::File),
            segments.prop_map(|s| TarKind::Sparse(s.last().map_or(7, |s| s.offset + s.length + 9), s)),
            "[a-z./]{1,200}".prop_map(|text| TarKind::Symlink(text.into())),
            "[a-z]{1,200}".prop_map(|path| TarKind::HardLink(path.into())),
        ];
        let numbers = (
            0..=0o7777_u32,
            any::<u32>(),
            any::<u32>(),
            -4_000_000_000_i64..20_000_000_000,
            0..1_000_000_000_u32,
        );
        let attributes = prop::collection::btree_map(
            "user\\.[a-z.]{1,9}",
            prop::collection::vec(any::<u8>(), 0..40),
            0..3,
        );
        (path, kind, numbers, "(|schg|schg,uarch)", attributes, any::<bool>()).prop_map(
            |(path, kind, (mode, uid, gid, seconds, nanoseconds), flags, attributes, has_acl)| TarEntry {
                path: path.into(),
                kind,
                mode,
                uid,
                gid,
                mtime: (seconds, nanoseconds),
                flags,
                attributes: attributes.into_iter().map(|(n, v)| (CString::new(n).unwrap(), v)).collect(),
                acls: if has_acl {
                    vec![(ACL_RECORDS[2].into(), b"owner@:rw::allow".to_vec())]
                } else {
                    Vec::new()
                },
            },
        )
    }

    proptest! {
        #[test]
        fn entries_there_and_back(all in prop::collection::vec(entries(), 0..6)) {
            prop_assert_eq!(read_back(&archive(&all)).unwrap(), all);
        }

        #[test]
        fn no_bytes_make_it_panic(
            mut bytes in Just(archive(&[entry(TarKind::Sparse(99, vec![Segment { offset: 1, length: 5 }]))])),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..9),
        ) {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = read_back(&bytes);
        }

        #[test]
        fn times(seconds in any::<i32>(), nanoseconds in 0..1_000_000_000_u32) {
            let time = (i64::from(seconds), nanoseconds);
            prop_assert_eq!(pax::parse_time(&pax::time(time)), Some(time));
        }
    }
}
