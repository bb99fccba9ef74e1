//! The properties of datasets that are known here.

/// Who may set a property, and whether it goes down to children.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reported only.
    ReadOnly,
    /// Set on one dataset and good for those below it.
    Inherited,
    /// Set on one dataset and good for that one alone.
    Own,
}

/// A native property.
pub struct Native {
    /// Its name.
    pub name: &'static str,
    /// A shorter name, which also heads its column in lists.
    pub short: &'static str,
    /// Who may set it.
    pub kind: Kind,
    /// Its value as long as no one set it.
    pub default: &'static str,
    /// What it can be set to; empty if not just one of a few words.
    pub values: &'static [&'static str],
    /// Whether it is a number or a time, and so right-aligned in lists.
    pub number: bool,
}

const fn reported(name: &'static str, short: &'static str, number: bool) -> Native {
    Native { name, short, kind: Kind::ReadOnly, default: "-", values: &[], number }
}

const fn settable(
    name: &'static str,
    short: &'static str,
    kind: Kind,
    default: &'static str,
    values: &'static [&'static str],
) -> Native {
    Native { name, short, kind, default, values, number: false }
}

const ON_OFF: &[&str] = &["on", "off"];

/// The native properties in the order of `zfs get all`.
pub const NATIVE: &[Native] = &[
    reported("type", "type", false),
    reported("creation", "creation", false),
    reported("used", "used", true),
    reported("available", "avail", true),
    reported("referenced", "refer", true),
    reported("mounted", "mounted", false),
    reported("origin", "origin", false),
    settable("quota", "quota", Kind::Own, "none", &[]),
    settable("reservation", "reserv", Kind::Own, "none", &[]),
    settable("recordsize", "recsize", Kind::Inherited, "128K", &[]),
    settable("mountpoint", "mountpoint", Kind::Inherited, "", &[]),
    settable("encryption", "encryption", Kind::Inherited, "off", &[]),
    settable("keylocation", "keylocation", Kind::Own, "none", &[]),
    settable("keyformat", "keyformat", Kind::Own, "none", &[]),
    reported("encryptionroot", "encroot", false),
    reported("keystatus", "keystatus", false),
    settable("compression", "compress", Kind::Inherited, "on", &[]),
    settable("atime", "atime", Kind::Inherited, "on", ON_OFF),
    settable("devices", "devices", Kind::Inherited, "on", ON_OFF),
    settable("exec", "exec", Kind::Inherited, "on", ON_OFF),
    settable("setuid", "setuid", Kind::Inherited, "on", ON_OFF),
    settable("readonly", "rdonly", Kind::Inherited, "off", ON_OFF),
    settable("jailed", "jailed", Kind::Inherited, "off", ON_OFF),
    settable("snapdir", "snapdir", Kind::Inherited, "hidden", &["hidden", "visible"]),
    reported("createtxg", "createtxg", true),
    settable("overlay", "overlay", Kind::Inherited, "on", ON_OFF),
    settable("canmount", "canmount", Kind::Own, "on", &["on", "off", "noauto"]),
    settable("refquota", "refquota", Kind::Own, "none", &[]),
    settable("refreservation", "refreserv", Kind::Own, "none", &[]),
    settable("snapshot_limit", "sscount", Kind::Own, "none", &[]),
    reported("guid", "guid", true),
    reported("usedbysnapshots", "usedsnap", true),
    reported("written", "written", true),
    reported("logicalused", "lused", true),
    reported("logicalreferenced", "lrefer", true),
    reported("userrefs", "userrefs", true),
    reported("clones", "clones", false),
];

/// What is set to a number of bytes, of which `none` is 0.
pub const SPACE: [&str; 4] = ["quota", "refquota", "reservation", "refreservation"];

/// What is said only of datasets that are encrypted.
pub const OF_KEYS: [&str; 5] = ["encryption", "keylocation", "keyformat", "encryptionroot", "keystatus"];

/// Finds a native property by either of its names.
pub fn native(name: &str) -> Option<&'static Native> {
    NATIVE.iter().find(|known| known.name == name || known.short == name)
}

/// Whether this is the name of a user property: lower case, with a colon in it.
pub fn is_user(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b":-._".contains(&byte);
    name.contains(':') && name.len() < 256 && name.bytes().all(good)
}

/// A number as zfs prints it for people: at most five characters, in powers of 1024.
pub fn nice(number: u64) -> String {
    let mut unit = 0;
    let mut whole = number;
    while whole >= 1024 {
        whole /= 1024;
        unit += 1;
    }
    let letter = ["B", "K", "M", "G", "T", "P", "E"][unit];
    let divisor = 1_u64 << (10 * unit);
    if number.is_multiple_of(divisor) {
        return format!("{whole}{letter}");
    }
    let value = number as f64 / divisor as f64;
    (0..=2)
        .rev()
        .map(|digits| format!("{value:.digits$}{letter}"))
        .find(|text| text.len() <= 5)
        .unwrap_or_else(|| format!("{whole}{letter}"))
}

/// A time as `%a %b %e %k:%M %Y` prints it, in UTC.
pub fn calendar(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let days = seconds / 86_400;
    let weekday = DAYS[(days % 7) as usize];
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    let (hour, minute) = (seconds % 86_400 / 3600, seconds % 3600 / 60);
    format!("{weekday} {} {:2} {hour:2}:{minute:02} {year}", MONTHS[month], left + 1)
}
