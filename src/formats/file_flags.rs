//! The names of file flags, as chflags(1) has them (freebsd-src: lib/libc/gen/
//! strtofflags.c, sys/sys/stat.h).

/// Flags and their names.
const NAMES: [(u32, &str); 14] = [
    (0x0000_0001, "nodump"),
    (0x0000_0002, "uchg"),
    (0x0000_0004, "uappnd"),
    (0x0000_0008, "opaque"),
    (0x0000_0010, "uunlnk"),
    (0x0000_0080, "usystem"),
    (0x0000_0100, "usparse"),
    (0x0000_0200, "uoffline"),
    (0x0000_0400, "ureparse"),
    (0x0000_1000, "urdonly"),
    (0x0000_8000, "uhidden"),
    (0x0002_0000, "schg"),
    (0x0004_0000, "sappnd"),
    (0x0010_0000, "sunlnk"),
];

/// The names of flags, separated by commas; empty for none. Flags that only the
/// system sets are left out.
pub fn to_text(flags: u32) -> String {
    let names = NAMES.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| *name);
    names.collect::<Vec<_>>().join(",")
}

/// The flags with these names; `None` if there is an unknown one.
pub fn parse(text: &str) -> Option<u32> {
    text.split(',').filter(|name| !name.is_empty()).try_fold(0, |flags, name| {
        NAMES.iter().find(|(_, known)| *known == name).map(|(flag, _)| flags | flag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (flags, text) in [(0, ""), (0x20000, "schg"), (0x20001, "nodump,schg")] {
            assert_eq!((to_text(flags).as_str(), parse(text)), (text, Some(flags)));
        }
        assert_eq!(to_text(0x10000), "");
        assert_eq!(parse("schg,what"), None);
    }
}
