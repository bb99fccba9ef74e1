#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| thinjail_fuzz::run("unpack", input));
