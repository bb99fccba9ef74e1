//! What all programs share: common options, how a program starts and how it ends.

use crate::formats::printable;
use crate::system::console;
use crate::system::host::Host;
use crate::system::plan::Plan;
use crate::system::root::Root;
use crate::system::syslog::{self, Severity};
use crate::types::mount::ExtraMount;
use anyhow::{Context, Result};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, Parser, ValueHint};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// A command line in typed form.
pub trait Arguments: Parser {
    /// The host that `-R` or the environment names.
    fn host(&self) -> Result<Host>;

    /// What no declaration of an argument can say: why the whole is invalid.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The options of every program that does something.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Print the equivalent shell commands and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Report every action on standard error
    #[arg(short, long)]
    pub verbose: bool,
    /// With -n: print the commands as one JSON document
    #[arg(long, requires = "dry_run")]
    pub json: bool,
    #[command(flatten)]
    pub(crate) root: AlternateRoot,
}

/// The options of every program that only prints data.
#[derive(Args, Clone, Debug)]
pub struct CommonOfData {
    /// Print one JSON document
    #[arg(short, long)]
    pub json: bool,
    #[command(flatten)]
    pub(crate) root: AlternateRoot,
}

/// The options of a program that prints data and may change something.
#[derive(Args, Clone, Debug)]
pub struct CommonOfBoth {
    /// Print the equivalent shell commands and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Report every action on standard error
    #[arg(short, long)]
    pub verbose: bool,
    /// Print one JSON document
    #[arg(short, long)]
    pub json: bool,
    #[command(flatten)]
    pub(crate) root: AlternateRoot,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct AlternateRoot {
    /// Work below this alternate root (also THINJAIL_ROOT)
    // Not clap's `env`: an empty variable means none.
    #[arg(short = 'R', long, value_name = "directory", value_hint = ValueHint::DirPath)]
    pub(crate) root: Option<PathBuf>,
}

impl AlternateRoot {
    /// The root that `-R` or the environment names.
    fn open(&self) -> Result<Root> {
        let from_environment =
            || std::env::var_os("THINJAIL_ROOT").filter(|v| !v.is_empty()).map(PathBuf::from);
        match self.root.clone().or_else(from_environment) {
            Some(directory) => Root::alternate(&directory),
            None => Ok(Root::system()),
        }
    }
}

impl Common {
    /// The host that the options name.
    pub fn host(&self) -> Result<Host> {
        Ok(Host::new(self.root.open()?, self.verbose))
    }
}

impl CommonOfData {
    /// The host that the options name.
    pub fn host(&self) -> Result<Host> {
        Ok(Host::new(self.root.open()?, false))
    }
}

impl CommonOfBoth {
    /// The host that the options name.
    pub fn host(&self) -> Result<Host> {
        Ok(Host::new(self.root.open()?, self.verbose))
    }
}

/// A mount, whose paths may be any bytes.
pub fn mount() -> impl TypedValueParser<Value = ExtraMount> {
    OsStringValueParser::new().try_map(|value| ExtraMount::parse(&value))
}

/// Reads a command line; its first word is the name of the program.
pub fn parse_from<P: Arguments>(words: impl IntoIterator<Item = OsString>) -> Result<P, clap::Error> {
    let arguments = P::try_parse_from(words)?;
    arguments.check().map_err(|why| P::command().error(ErrorKind::ArgumentConflict, why))?;
    Ok(arguments)
}

/// Prints what clap has to say: help and version on standard output, a usage
/// error on standard error with exit status 2.
fn stop(program: &str, error: &clap::Error) -> ExitCode {
    // Line breaks are clap's own or in what it quotes; each line is one.
    let text: String = error.to_string().lines().map(|line| printable::line(line) + "\n").collect();
    if error.use_stderr() {
        console::complain(text.trim_end());
        return ExitCode::from(USAGE);
    }
    end(program, console::print_text(&text).context("standard output").map(|()| ExitCode::SUCCESS))
}

/// A usage error on one line, without the hints behind it, for syslog(3).
pub fn summary(error: &clap::Error) -> String {
    let text = printable::text(&error.to_string());
    let text = text.split("\n\n").next().unwrap_or_default();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.strip_prefix("error: ").unwrap_or(&words).to_owned()
}

/// The name of a program.
fn name_of<P: Arguments>() -> String {
    P::command().get_name().to_owned()
}

/// Runs an administrator's program.
pub fn run<P: Arguments>(work: fn(&P, &Host) -> Result<ExitCode>) -> ExitCode {
    match parse_from::<P>(std::env::args_os()) {
        Ok(arguments) => {
            let done = arguments.host().and_then(|host| work(&arguments, &host));
            done.unwrap_or_else(|error| end(&name_of::<P>(), Err(error)))
        }
        Err(error) => stop(&name_of::<P>(), &error),
    }
}

/// Runs a hook: failures go to syslog too.
pub fn run_hook<P: Arguments>(work: fn(&P, &Host) -> Result<ExitCode>) -> ExitCode {
    let arguments = match parse_from::<P>(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => {
            let program = name_of::<P>();
            if error.use_stderr() {
                let root = AlternateRoot { root: None }.open().unwrap_or_else(|_| Root::system());
                syslog::send(&root, &program, Severity::Error, &summary(&error));
            }
            return stop(&program, &error);
        }
    };
    let host = match arguments.host().context("start") {
        Ok(host) => host,
        Err(e) => return end_hook(&name_of::<P>(), &Root::system(), Err(e)),
    };
    work(&arguments, &host).unwrap_or_else(|error| end_hook(&name_of::<P>(), host.root(), Err(error)))
}

/// Implements [`Arguments`] for a program whose declarations say everything.
macro_rules! arguments {
    ($program:ty) => {
        impl $crate::commands::common::Arguments for $program {
            fn host(&self) -> anyhow::Result<$crate::system::host::Host> {
                self.common.host()
            }
        }
    };
}
pub(crate) use arguments;

/// Exit status of a program that did not do its work.
pub const FAILED: u8 = 1;

/// Exit status for a usage error.
pub const USAGE: u8 = 2;

/// Ends an administrator's program.
pub fn end(program: &str, result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        console::complain(&format!("{program}: {}", console::line(&error)));
        ExitCode::from(FAILED)
    })
}

/// Ends a hook: what went wrong goes to syslog too, because rc.d/jail may not
/// show it.
pub fn end_hook(program: &str, root: &Root, result: Result<ExitCode>) -> ExitCode {
    if let Err(error) = &result {
        syslog::send(root, program, Severity::Error, &console::line(error));
    }
    end(program, result)
}

/// Prints what a plan would do, as commands or as one JSON document.
pub fn dry_run(program: &str, plan: &Plan, json: bool) -> Result<ExitCode> {
    let commands = plan.commands();
    if json {
        let document = serde_json::json!({ "program": program, "commands": commands });
        console::print_json(&document)?;
    } else {
        console::print_text(&commands.iter().map(|c| format!("{c}\n")).collect::<String>())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a plan or carries it out, as `-n` says.
pub fn print_or_do(program: &str, host: &Host, plan: &Plan, dry: bool, json: bool) -> Result<ExitCode> {
    if dry {
        return dry_run(program, plan, json);
    }
    plan.carry_out(host)?;
    Ok(ExitCode::SUCCESS)
}
