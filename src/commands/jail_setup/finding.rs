//! What jail-setup found, and what it proposes.

use serde_json::{Value, json};

/// A part of the set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Storage,
    Settings,
    JailConf,
    RcConf,
    Network,
    Firewall,
}

impl Part {
    /// Its name in the output.
    pub(super) fn name(self) -> &'static str {
        match self {
            Part::Storage => "storage",
            Part::Settings => "thinjail.conf",
            Part::JailConf => "jail.conf",
            Part::RcConf => "rc.conf",
            Part::Network => "network",
            Part::Firewall => "pf.conf",
        }
    }
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is right already.
    Ok,
    /// jail-setup changes it.
    Change,
    /// The administrator has to change it.
    Todo,
    /// Something to know before.
    Warning,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Change => "change",
            State::Todo => "todo",
            State::Warning => "warning",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    part: Part,
    pub(super) state: State,
    text: String,
    /// Lines of a file, or commands, that belong to it.
    lines: Vec<String>,
}

impl Finding {
    pub(super) fn new(part: Part, state: State, text: impl Into<String>) -> Finding {
        Finding { part, state, text: text.into(), lines: Vec::new() }
    }

    /// With lines of a file, or commands.
    pub(super) fn with_lines(self, lines: Vec<String>) -> Finding {
        Finding { lines, ..self }
    }

    /// For people: a line, and its lines below it.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{}: {}: {}\n", self.state.name(), self.part.name(), self.text);
        self.lines.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
        text
    }

    /// On one line.
    pub(super) fn to_line(&self) -> String {
        let head = format!("{}: {}: {}", self.state.name(), self.part.name(), self.text);
        if self.lines.is_empty() {
            return head;
        }
        // Columns and the ends of statements mean nothing in one line.
        let words = |line: &String| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> =
            self.lines.iter().map(|line| words(line).trim_end_matches(';').to_owned()).collect();
        format!("{head}: {}", lines.join("; "))
    }

    /// For programs.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "part": self.part.name(),
            "state": self.state.name(),
            "text": self.text,
            "lines": self.lines,
        })
    }
}
